"""The patch store: parts, manifest, images with their marks, and pairs of stores."""
