"""Manifests: validated lists of videos, and functions that make them."""
