"""Traces in pixels that readers do not see, but programs do: those of encoders, and fine texture.

- Lowest bits: their mean and how often neighbors and channels agree. Processing in 8 bits and noise change them.
- Grid: the mean absolute second difference at each of the eight places within a block of JPEG, over their mean, down
  and across, in brightness and in both color differences (Cb, Cr). At the borders of blocks it is higher.
- Texture: the logarithm of second differences at full and half resolution, and of mixed differences, per component.
"""

import numpy as np
from numpy.typing import NDArray

from histosynth.study.design.pictures import GRID_PX

Array = NDArray[np.float64]
_SMALL = 1e-3  # in gray levels: keeps logarithms of flat pictures finite
_BT601 = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])  # Y, Cb, Cr as in JPEG


def pixel_traces(image: NDArray[np.uint8]) -> Array:
    """Return the traces of a picture (H, W, 3) as a vector."""
    components = np.moveaxis(image @ _BT601.T, 2, 0)
    return np.array([*_lowest_bits(image), *(value for c in components for value in (*_grid(c), *_texture(c)))])


def _lowest_bits(image: NDArray[np.uint8]) -> list[float]:
    bits = image & 1
    agree = [
        *((bits[:, 1:] == bits[:, :-1]).mean((0, 1))),
        *((bits[1:] == bits[:-1]).mean((0, 1))),
        *((bits[..., 1:] == bits[..., :-1]).mean((0, 1))),
    ]
    return [*bits.mean((0, 1)), *agree]


def _grid(component: Array) -> list[float]:
    traces: list[float] = []
    for axis in (0, 1):
        steps = np.abs(np.diff(component, n=2, axis=axis)).mean(1 - axis)
        places = np.array([steps[place::GRID_PX].mean() if place < len(steps) else 0.0 for place in range(GRID_PX)])
        places = (places + _SMALL) / (places.mean() + _SMALL)
        traces += [*places, places.max(), places.min(), places.std()]
    return traces


def _texture(component: Array) -> list[float]:
    full, half = (_roughness(c) for c in (component, component[::2, ::2]))
    mixed = np.abs(np.diff(np.diff(component, axis=0), axis=1)).mean()
    return [np.log(full), np.log(full / half), float(np.log(mixed + _SMALL))]


def _roughness(component: Array) -> float:
    return float(sum(np.abs(np.diff(component, n=2, axis=axis)).mean() for axis in (0, 1))) + _SMALL
