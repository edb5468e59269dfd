"""The patch store: parts, manifest, marked images, and pairs of stores."""
