"""What `srkd compare` does between its plan and its report: checks, training, scores."""
