"""CIELAB of 8-bit sRGB pixels, white point D65 (CIE 15; IEC 61966-2-1): L* from 0 to 100, a* green to red, b* blue to
yellow.

With XYZ the tristimulus values of the pixel's light over those of white:

    L* = 116 f(Y) - 16,   a* = 500 (f(X) - f(Y)),   b* = 200 (f(Y) - f(Z)),
    f(t) = t^(1/3), and below (6/29)^3 the tangent t / (3 (6/29)^2) + 4/29.

Colors are stored with one row per channel, (3, N), and should be processed in blocks of `BLOCK`, which fit into the
cache. Light is looked up by the 256 levels, and levels by light in steps of 1/65536, which changes no value by more
than 0.03 of a level.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK = 32_768
"""Number of pixels to convert at once."""
_WHITE = np.array([0.95047, 1.0, 1.08883])
_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_TO_XYZ = (_XYZ / _WHITE[:, None]).astype(np.float32)
_STEPS = 1 << 16
_FROM_XYZ = (_STEPS * np.linalg.inv(_XYZ / _WHITE[:, None])).astype(np.float32)
_TO_LAB = np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32)
_FROM_LAB = np.array([[1 / 116, 1 / 500, 0], [1 / 116, 0, 0], [1 / 116, 0, -1 / 200]], np.float32)
_DARK = 6 / 29
_LEVELS = np.arange(256) / 255
_LIGHT = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_MIDDLES = (np.arange(_STEPS) + 0.5) / _STEPS
_LEVEL = np.rint(255 * np.where(_MIDDLES <= 0.0031308, 12.92 * _MIDDLES, 1.055 * _MIDDLES ** (1 / 2.4) - 0.055))
_LEVEL = _LEVEL.astype(np.uint8)


def to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return L*, a* and b* as rows, (3, N), of pixels (N, 3)."""
    light = _TO_XYZ @ np.take(_LIGHT, rgb.T)
    root = np.cbrt(light)
    if light.min() < _DARK**3:
        dark = light < _DARK**3
        root[dark] = light[dark] / (3 * _DARK**2) + 4 / 29
    lab: NDArray[np.float32] = _TO_LAB @ root
    lab[0] -= 16
    return lab


def to_rgb(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the nearest pixels (N, 3) of L*, a* and b* as rows, (3, N); colors outside sRGB are clipped by channel."""
    root = _FROM_LAB @ lab
    root += np.float32(4 / 29)  # 16 / 116
    light = root * root
    light *= root
    if root.min() < _DARK:
        dark = root < _DARK
        light[dark] = (root[dark] - 4 / 29) * (3 * _DARK**2)
    steps = (light.T @ _FROM_XYZ.T).astype(np.intp)
    rgb: NDArray[np.uint8] = np.take(_LEVEL, steps, mode="clip")
    return rgb
