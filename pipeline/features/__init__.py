"""The feature store: feature maps of clips on disk, with their provenance, and the choice of which to read."""
