"""Render a labelled set of videos."""
