"""Decode every video of a manifest and say what is wrong."""
