import json

import numpy as np
import pytest

from histosynth.errors import HistosynthError
from histosynth.stain import StainFit, normalizers
from histosynth.stain.two_stains import TARGET


def test_no_normalization_returns_the_image() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert normalizers["none"].estimate(image.reshape(-1, 3)) is None
    assert normalizers["none"].apply(image, None) is image


def test_fit_is_restored_from_json() -> None:
    assert StainFit.from_dict(json.loads(json.dumps(TARGET.to_dict()))) == TARGET


def test_registered_names() -> None:
    assert list(normalizers) == ["macenko", "none", "reinhard", "vahadane"]
    with pytest.raises(HistosynthError, match="unknown normalizer 'macenco'"):
        normalizers["macenco"]
