"""A picture that the tests of the TIFF reader write to files."""

import numpy as np
import pytest

HEIGHT, WIDTH = 610, 700


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Return smooth colors with sharp edges, (HEIGHT, WIDTH, 3), on which different JPEG decoders would disagree."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([np.sin(x / 9) * np.cos(y / 7), np.sin(x / 23 + 1), np.cos((x + y) / 31)], axis=2)
    image = (127 + 90 * waves).astype(np.uint8)
    image[::37] = (250, 20, 30)
    return image
