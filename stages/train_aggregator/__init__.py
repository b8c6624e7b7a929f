"""Train an aggregator on a feature store."""
