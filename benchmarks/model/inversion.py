"""Does an image come back from its noise? The probability flow by Heun's rule beside what is usual, at equal cost.

Held-out phantom patches are inverted under their own label and sampled back: the error is what an edit that changes
nothing would change. Beside `diffusion.inversion`: DDIM inversion (the denoiser asked at the clean end of each step),
and the same with its step solved for its end by 1 or 3 fixed-point iterations, each sampled back by DDIM at its own
steps. Evaluations of the network are counted on the way up.

Needs nothing: without --run and --store it makes the model of `histosynth demo` itself (5 minutes); then half a minute
on one core. `--quick` takes less than one.

    .venv/bin/python benchmarks/model/inversion.py [--run RUN --store STORE] [--quick]

The last line is JSON: `ratio` is the error of DDIM inversion over ours at 40 evaluations, median over patches, `low`
and `high` the quartiles.
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
    """Some patches with their labels, and a model."""

    def __init__(self, denoiser: Denoiser, image: Tensor, label: Tensor) -> None:
        self.denoiser, self.image, self.label, self.schedule = denoiser, image, label, denoiser.schedule

    def denoise(self, x: Tensor, t: Tensor) -> Prediction:
        """A `Denoise`."""
        return self.denoiser.predict(x, t.expand(len(x)), self.label)

    def heun(self, evaluations: int) -> Tensor:
        """There and back as the package does it."""
        steps = evaluations // 2
        latent = invert(self.denoise, self.schedule, image=self.image, steps=steps)
        return regenerate(self.denoise, self.schedule, latent=latent, steps=steps)

    def ddim(self, evaluations: int, *, iterations: int = 0) -> Tensor:
        """There and back by DDIM, each step up solved by so many iterations."""
        steps = evaluations // (iterations + 1)
        times = self.schedule.times(steps)
        alpha, sigma = self.schedule.alpha(times), self.schedule.sigma(times)
        x = alpha[-2] * self.image
        clean = self.denoise(x, times[-2]).clean
        for i in range(steps - 1, 0, -1):  # from times[i] up to times[i - 1]

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
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run, path = run_and_store(given, Path(temporary))
        denoiser, origin = load_denoiser(find_weights(run))
        store = Store(path)
        rng = np.random.default_rng(0)
        count = 1 if given.quick else 2
        rows = [rng.permutation(store.select(split="held_out", label=label))[:count] for label in origin.labels]
        images = store.images(np.concatenate(rows))
    patches = Patches(denoiser, to_tensor(images), torch.arange(len(rows)).repeat_interleave(count))
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
    least = images[0].size ** -0.5  # one gray level in one value; a model that is hardly trained may leave no error
    ratios = errors["DDIM", 40] / np.maximum(errors["Heun (ours)", 40], least)
    low, ratio, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(json.dumps({"name": "inversion", "ratio": ratio, "low": low, "high": high, "unit": "x less error"}))


if __name__ == "__main__":
    main()
