"""Manifests from the official lists of public data sets."""
