"""Not a stage: verify, export and import stores."""
