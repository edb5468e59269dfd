"""The diffusion model: noise schedules, denoisers, networks and samplers. Tensors in, tensors out."""
