"""Training batches from patch stores."""
