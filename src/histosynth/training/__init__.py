"""The training loop, counted in images and resumable; its tasks, data and checkpoints."""
