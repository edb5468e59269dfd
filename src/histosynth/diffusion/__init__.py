"""The diffusion model: schedule, process, network, samplers. Tensors in, tensors out."""
