"""Random fields and shapes for drawing tissue: smooth noise, fibers along a direction, closed outlines."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.floating]

_FIBER_TILE = 512
_FIBER_DIRECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Pixel grid of a phantom."""

    width_px: int
    height_px: int
    mpp: float

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (rows, columns) of all fields on this frame."""
        return self.height_px, self.width_px

    def px(self, microns: float) -> float:
        """Convert a length to pixels."""
        return microns / self.mpp


def stretch(coarse: Field, shape: tuple[int, int]) -> Field:
    """Enlarge a coarse field to `shape` by cubic interpolation."""
    return np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def noise(frame: Frame, *, scale_um: float, rng: np.random.Generator) -> Field:
    """Return smooth noise of about zero mean and unit variance, with grains of `scale_um`."""
    scale = max(frame.px(scale_um), 1.0)
    height, width = frame.shape
    rows, columns = math.ceil(height / scale) + 3, math.ceil(width / scale) + 3
    coarse = Image.fromarray(rng.standard_normal((rows, columns), np.float32))
    box = (1.0, 1.0, 1.0 + width / scale, 1.0 + height / scale)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC, box=box))


def fibers(frame: Frame, direction: Field, *, length_um: float, width_um: float, rng: np.random.Generator) -> Field:
    """Return noise of unit variance that is elongated along `direction`: the texture of glial processes.

    One tile of white noise is blurred along each of eight directions, and every pixel mixes the two or three results
    closest to its own direction (steerable in the sense of Freeman & Adelson 1991).

    Args:
        frame: the pixel grid.
        direction: coarse field of any shape, in radians; stretched over the frame.
        length_um: extent of a fiber along its direction.
        width_um: thickness of a fiber.
        rng: source of the noise.
    """
    n = _FIBER_TILE
    spectrum = np.fft.rfft2(rng.standard_normal((n, n)))
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]
    total, power = np.zeros(frame.shape, np.float32), np.zeros(direction.shape)
    repeats = (math.ceil(frame.height_px / n), math.ceil(frame.width_px / n))
    weights = []
    for k in range(_FIBER_DIRECTIONS):
        weight = np.cos(direction - math.pi * k / _FIBER_DIRECTIONS) ** 16
        weights.append(weight)
        power += weight
    for k, weight in enumerate(weights):
        cos, sin = math.cos(math.pi * k / _FIBER_DIRECTIONS), math.sin(math.pi * k / _FIBER_DIRECTIONS)
        along, across = fx * cos + fy * sin, fy * cos - fx * sin
        reach = (frame.px(length_um) * along) ** 2 + (frame.px(width_um) * across) ** 2
        tile = np.fft.irfft2(spectrum * np.exp(-2.0 * reach), s=(n, n)).astype(np.float32)
        tile /= tile.std()
        share = stretch((weight / power).astype(np.float32), frame.shape)
        total += share * np.tile(tile, repeats)[: frame.height_px, : frame.width_px]
    return total


@dataclass(frozen=True)
class Blob:
    """A closed smooth outline around a center: a rounded rectangle whose radius varies with the angle."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    amplitudes: NDArray[np.float64]
    phases: NDArray[np.float64]

    @classmethod
    def draw(cls, frame: Frame, *, radius: float, rng: np.random.Generator) -> "Blob":
        """Draw an outline near the center of the frame; `radius` is its mean radius as a share of the sides."""
        orders = np.arange(2, 9)
        x, y = 0.5 + rng.uniform(-0.012, 0.012, 2)
        return cls(
            x=x * frame.width_px,
            y=y * frame.height_px,
            radius_x=radius * frame.width_px,
            radius_y=radius * frame.height_px,
            amplitudes=rng.uniform(0.4, 1.0, len(orders)) * 0.13 / orders,
            phases=rng.uniform(0.0, 2.0 * math.pi, len(orders)),
        )

    def radius(self, theta: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the radius at the angle `theta`, as a multiple of the mean radius."""
        square = (np.abs(np.cos(theta)) ** 2.5 + np.abs(np.sin(theta)) ** 2.5) ** (-1.0 / 2.5)
        orders = np.arange(2, 2 + len(self.amplitudes))
        variation = np.cos(theta[..., None] * orders + self.phases) @ self.amplitudes
        return np.asarray(square * (1.0 + variation) / 1.04)

    def inside(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the depth of points as a share of the mean radius, negative outside; accurate near the outline."""
        u, v = (x - self.x) / self.radius_x, (y - self.y) / self.radius_y
        return np.asarray(self.radius(np.arctan2(v, u)) - np.hypot(u, v))

    def polygon(self, vertices: int = 160) -> NDArray[np.float64]:
        """Return the outline as a ring of (x, y), not closed."""
        theta = np.linspace(0.0, 2.0 * math.pi, vertices, endpoint=False)
        radius = self.radius(theta)
        x, y = self.x + self.radius_x * radius * np.cos(theta), self.y + self.radius_y * radius * np.sin(theta)
        return np.stack([x, y], axis=1)

    def depth(self, frame: Frame) -> Field:
        """Return the depth of each pixel inside in microns, negative outside; accurate near the outline."""
        rows, columns = frame.height_px // 8 + 1, frame.width_px // 8 + 1
        y = (np.arange(rows)[:, None] + 0.5) * frame.height_px / rows
        x = (np.arange(columns)[None, :] + 0.5) * frame.width_px / columns
        microns = math.sqrt(self.radius_x * self.radius_y) * frame.mpp
        return stretch((self.inside(x, y) * microns).astype(np.float32), frame.shape)
