"""Not a stage: which backbones and aggregators there are, and what they cost; reads no file and computes nothing."""
