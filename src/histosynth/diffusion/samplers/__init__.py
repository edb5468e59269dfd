"""Samplers: generate an image from noise along the times of a schedule, given a denoiser.

All samplers support x_t = α x_0 + σ ε for any α, σ, from α = 0 (pure noise) to σ = 0 (the data). Let x̂_0 be the
denoised image at time t, s < t the next time, and e^-h = α_t σ_s / (α_s σ_t), where h is the step in log(α/σ):

- ddim: x_s = α_s x̂_0 + σ_s ε̂, ε̂ = (x_t - α_t x̂_0) / σ_t. Deterministic, first order (Song et al. 2021); η adds noise,
  up to that of ddpm.
- ddpm: a draw from q(x_s | x_t, x̂_0), the posterior of Ho et al. 2020, eq. 7, with the denoiser's variance.
- dpmpp_2m: ddim with x̂_0 extrapolated from the current and the previous evaluation; second order at one evaluation per
  step (Lu et al. 2022, "DPM-Solver++", alg. 2).
- dpmpp_2m_sde: ddpm with the same extrapolation.
- heun: the path of ddim by Heun's method (Karras et al. 2022, alg. 1); second order, two evaluations per step except
  the last.
"""

from histosynth.diffusion.samplers.ancestral import ddpm
from histosynth.diffusion.samplers.ddim import DDIM, ddim
from histosynth.diffusion.samplers.dpm_solver import dpmpp_2m, dpmpp_2m_sde
from histosynth.diffusion.samplers.heun import heun
from histosynth.diffusion.samplers.protocol import Denoise, Sampler, count_evaluations, pick_sampler, samplers

__all__ = [
    "DDIM",
    "Denoise",
    "Sampler",
    "count_evaluations",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "heun",
    "pick_sampler",
    "samplers",
]
