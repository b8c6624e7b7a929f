"""Not a stage: relabel, verify, export and import stores."""
