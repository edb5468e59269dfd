"""Fit a mixture to patches: k-means on the logarithms of band energies, then expectation maximization.

The mean color and the energy per band of a patch are sufficient for the mixture. If training rotates and flips patches,
the transpose of each patch is counted, too (the other symmetries do not change energies). With e the energies of a
patch, n the number of coefficients per band, r_k the responsibilities and v̄ the mean variance within components, each
step sets

    v_k = (Σ r_k e + ν n v̄) / (n (Σ r_k + ν)):

ν patches of average variance keep a component with few patches from overfitting to them.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from histosynth.diffusion.mixture import Mixture

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Iterates over the same batches at every call: images (N, 3, S, S) in [-1, 1] and their labels (N,)."""

_FLOOR = (2 / 255) ** 2 / 12
"""Least variance: that of rounding to bytes."""
_PRIOR_PATCHES = 4.0  # ν
_K_MEANS_STEPS = 10
_UNUSED = -1e4
"""Log weight of a component without patches: finite, so that weights can be averaged."""


class _Patches(NamedTuple):
    """Sufficient statistics of patches, float64."""

    color: Tensor
    """(N, 3) coefficients of the mean color."""
    energy: Tensor
    """(N, 3 x bands x bands), 0 in the band of the mean color."""


class _Components(NamedTuple):
    """Mixture of one label."""

    weight: Tensor
    mean: Tensor
    variance: Tensor


def fit_mixture(
    mixture: Mixture, batches: Batches, *, generator: torch.Generator, transposed: bool = True, steps: int = 12
) -> None:
    """Fit each label's components, and the color axes, in place.

    Args:
        mixture: mixture to fit.
        batches: the training patches, on the CPU.
        generator: random numbers for the first centers of k-means.
        transposed: also count the transpose of each patch.
        steps: number of steps of expectation maximization.

    Raises:
        ValueError: no patches.
    """
    mixture.axes.copy_(principal_axes(batches))
    found, labels = _sufficient(mixture, batches, transposed=transposed)
    size = mixture.count.expand(3, -1, -1).flatten()
    total, components = len(labels), mixture.log_weight.shape[1]
    for number in range(len(mixture.log_weight)):
        chosen = (labels == number).nonzero().flatten()
        rows = chosen if len(chosen) else torch.arange(total)  # a label that was not among the patches: all of them
        patches = _Patches(found.color[rows], found.energy[rows])
        fitted = _fit(patches, size, components=components, steps=steps, generator=generator)
        weight = fitted.weight * max(len(chosen), 1) / total
        mixture.log_weight[number] = weight.log().clamp(min=_UNUSED)
        mixture.mean[number] = fitted.mean
        mixture.variance[number] = fitted.variance


def principal_axes(batches: Batches) -> Tensor:
    """Return the principal axes of the colors of all pixels, (3, 3) float64, one per row, largest variance first."""
    count, mean, square = 0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, 3, dtype=torch.float64)
    for x, _ in batches():
        pixels = x.double().transpose(0, 1).flatten(1)
        count, mean, square = count + pixels.shape[1], mean + pixels.sum(1), square + pixels @ pixels.T
    if not count:
        raise ValueError("no patches to fit a mixture to")
    mean = mean / count
    axes: Tensor = torch.linalg.eigh(square / count - mean[:, None] * mean).eigenvectors.T.flip(0)
    largest = axes.abs().argmax(1, keepdim=True)
    return axes * axes.gather(1, largest).sign()  # of an axis' two directions, the same one everywhere


def _sufficient(mixture: Mixture, batches: Batches, *, transposed: bool) -> tuple[_Patches, Tensor]:
    colors, energies, labels = [], [], []
    for x, label in batches():
        y = mixture.transform(x.double())
        energy = mixture.energy(y)
        energy[:, :, 0, 0] = 0
        for each in (energy, energy.transpose(2, 3)) if transposed else (energy,):
            colors.append(y[:, :, 0, 0])
            energies.append(each.flatten(1))
            labels.append(label)
    return _Patches(torch.cat(colors), torch.cat(energies)), torch.cat(labels)


def _fit(patches: _Patches, size: Tensor, *, components: int, steps: int, generator: torch.Generator) -> _Components:
    share = _k_means(_features(patches, size), components, generator=generator)
    fitted = _maximize(patches, share, size)
    for _ in range(steps):
        fitted = _maximize(patches, _expect(patches, fitted, size), size)
    return fitted


def _features(patches: _Patches, size: Tensor) -> Tensor:
    """Return the features for k-means: log energy per coefficient, and the mean color in standard deviations."""
    log_energy = (patches.energy / size + _FLOOR).log()
    deviation = patches.color.std(0, correction=0).clamp(min=_FLOOR**0.5)
    return torch.cat([log_energy, patches.color / deviation], dim=1)


def _k_means(features: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Assign each row to one of `count` groups, (N, count) of 0 and 1; groups may be empty."""
    first = torch.randperm(len(features), generator=generator)[:count]
    centers = features[first]
    for _ in range(_K_MEANS_STEPS):
        nearest = torch.cdist(features, centers).argmin(1)
        share = torch.nn.functional.one_hot(nearest, len(centers)).to(features)
        held = share.sum(0)
        centers = torch.where((held > 0)[:, None], share.T @ features / held.clamp(min=1)[:, None], centers)
    empty = features.new_zeros(len(features), count - len(centers))
    return torch.cat([share, empty], dim=1)


def _maximize(patches: _Patches, share: Tensor, size: Tensor) -> _Components:
    """Return the components, given the responsibilities (N, components)."""
    held = share.sum(0)
    mean = share.T @ patches.color / held.clamp(min=1e-9)[:, None]
    square = share.T @ patches.color.square() - held[:, None] * mean.square()
    energy = share.T @ patches.energy
    first = torch.zeros_like(size).view(3, -1)
    first[:, 0] = 1
    energy[:, first.flatten() > 0] = square.clamp(min=0)
    average = energy.sum(0) / held.sum()
    variance = (energy + _PRIOR_PATCHES * average) / ((held + _PRIOR_PATCHES)[:, None] * size)
    return _Components(held / held.sum(), mean, variance.clamp(min=_FLOOR))


def _expect(patches: _Patches, fitted: _Components, size: Tensor) -> Tensor:
    """Return the responsibilities (N, components)."""
    first = fitted.variance.view(len(fitted.mean), 3, -1)[:, :, 0]
    offset = (patches.color[:, None] - fitted.mean).square() / first
    distance = patches.energy @ fitted.variance.reciprocal().T + offset.sum(2)
    return (fitted.weight.log() - (distance + fitted.variance.log() @ size) / 2).softmax(1)
