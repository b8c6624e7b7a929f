"""Manifests: validated lists of videos, and the makers of such lists."""
