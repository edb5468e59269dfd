"""The baseline: a conditional progressive GAN. Tensors in, tensors out; nothing here knows files, runs or slides."""
