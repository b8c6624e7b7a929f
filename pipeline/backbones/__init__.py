"""Clip backbones, by name."""
