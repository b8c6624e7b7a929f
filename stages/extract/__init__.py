"""Run backbones over videos into a feature store."""
