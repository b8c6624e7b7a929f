"""Not a stage: count what networks and whole settings cost; reads no file and computes nothing."""
