"""Train backbones and aggregator together."""
