"""Score runs on a feature store or on videos."""
