"""Fit linear classifiers on pooled features."""
