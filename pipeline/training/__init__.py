"""Training: one loop for all networks, run directories, batches, and the choice of training videos."""
