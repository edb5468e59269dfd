"""Round-trip error of inversion: the probability flow by Heun's method compared with DDIM inversion, at equal cost.

Held-out phantom patches are inverted with their own label and sampled back. The error is the change that an edit
without effect would cause. `diffusion.inversion` is compared with DDIM inversion (the denoiser is evaluated at the
clean end of each step), and with DDIM inversion whose steps are solved for their end by 1 or 3 fixed-point iterations;
both are sampled back by DDIM with the same number of steps. Evaluations of the network are counted from image to noise.

No data are required: without --run and --store, the script trains the model of `histosynth demo` (5 minutes). It then
takes half a minute on one core. `--quick` takes less than a minute in total.

    .venv/bin/python benchmarks/model/inversion.py [--run RUN --store STORE] [--quick]

The last line is JSON: `ratio` is the error of DDIM inversion divided by ours at 40 evaluations, median over patches;
`low` and `high` are the quartiles.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from phantom_model import add_options, run_and_store
from torch import Tensor

from histosynth.diffusion.denoiser import Denoiser, Prediction
from histosynth.diffusion.inversion import invert, regenerate
from histosynth.store.store import Store
from histosynth.training.checkpoint import find_weights, load_denoiser
from histosynth.training.data.dataset import to_bytes, to_tensor

EVALUATIONS = (24, 40)


class Patches:
    """Patches with their labels, and a model."""

    def __init__(self, denoiser: Denoiser, image: Tensor, label: Tensor) -> None:
        self.denoiser, self.image, self.label, self.schedule = denoiser, image, label, denoiser.schedule

    def denoise(self, x: Tensor, t: Tensor) -> Prediction:
        """Denoise the patches under their own labels; a `Denoise`."""
        return self.denoiser.predict(x, t.expand(len(x)), self.label)

    def heun(self, evaluations: int) -> Tensor:
        """Invert and sample back with the package."""
        steps = evaluations // 2
        latent = invert(self.denoise, self.schedule, image=self.image, steps=steps)
        return regenerate(self.denoise, self.schedule, latent=latent, steps=steps)

    def ddim(self, evaluations: int, *, iterations: int = 0) -> Tensor:
        """Invert and sample back by DDIM, with `iterations` fixed-point iterations per step of the inversion."""
        steps = evaluations // (iterations + 1)
        times = self.schedule.times(steps)
        alpha, sigma = self.schedule.alpha(times), self.schedule.sigma(times)
        x = alpha[-2] * self.image
        clean = self.denoise(x, times[-2]).clean
        for i in range(steps - 1, 0, -1):  # from times[i] to the noisier times[i - 1]

            def up(clean: Tensor, x: Tensor = x, i: int = i) -> Tensor:
                return alpha[i - 1] * clean + sigma[i - 1] / sigma[i] * (x - alpha[i] * clean)

            x = up(clean)
            for _ in range(iterations):
                x = up(self.denoise(x, times[i - 1]).clean)
            clean = self.denoise(x, times[i - 1]).clean
        for i in range(steps):
            clean = self.denoise(x, times[i]).clean
            x = alpha[i + 1] * clean + sigma[i + 1] / sigma[i] * (x - alpha[i] * clean)
        return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    # Model and patches
    with tempfile.TemporaryDirectory() as temporary:
        run, path = run_and_store(options, Path(temporary))
        denoiser, origin = load_denoiser(find_weights(run))
        store = Store(path)
        rng = np.random.default_rng(0)
        count = 1 if options.quick else 2
        rows = [rng.permutation(store.select(split="held_out", label=label))[:count] for label in origin.labels]
        images = store.images(np.concatenate(rows))
    patches = Patches(denoiser, to_tensor(images), torch.arange(len(rows)).repeat_interleave(count))
    # Errors of each method
    methods = {
        "DDIM": patches.ddim,
        "DDIM, 1 iteration": lambda n: patches.ddim(n, iterations=1),
        "DDIM, 3 iterations": lambda n: patches.ddim(n, iterations=3),
        "Heun (ours)": patches.heun,
    }
    errors: dict[tuple[str, int], NDArray[np.float64]] = {}
    print(f"{len(images)} patches; root mean square error in gray levels of 255, median over patches (largest)")
    with torch.inference_mode():
        for name, method in methods.items():
            for n in EVALUATIONS:
                difference = to_bytes(method(n)).astype(float) - images
                errors[name, n] = np.sqrt((difference**2).mean(axis=(1, 2, 3)))
            cells = [f"{np.median(errors[name, n]):.2f} ({errors[name, n].max():.2f})" for n in EVALUATIONS]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    # Ratio
    smallest = images[0].size ** -0.5  # one gray level in one value; a barely trained model may have no error
    ratios = errors["DDIM", 40] / np.maximum(errors["Heun (ours)", 40], smallest)
    low, ratio, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(json.dumps({"name": "inversion", "ratio": ratio, "low": low, "high": high, "unit": "x less error"}))


if __name__ == "__main__":
    main()
