"""The baseline: a conditional progressive GAN. Tensors in, tensors out, independent of files, runs and slides."""
