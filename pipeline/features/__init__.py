"""The feature store: feature maps of clips on disk, with their provenance, and which of them to read."""
