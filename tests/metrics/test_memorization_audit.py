import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage

from histosynth.errors import HistosynthError
from histosynth.metrics.memorization_audit import Patches, audit_memorization


def tissue(seed: int, count: int, px: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    nuclei = ndimage.gaussian_filter(rng.normal(size=(count, px, px)), (0, 2, 2))[..., None] > 0.1
    return np.where(nuclei, [110, 70, 150], [225, 170, 200]).astype(np.uint8)


def side(name: str, images: np.ndarray, patients: list[str] | None = None) -> Patches:
    features = images.reshape(len(images), 16, 64 * 64 * 3 // 16).mean(axis=2).astype(np.float32)
    return Patches(
        ids=[f"{name}-{i}" for i in range(len(images))],
        images=lambda rows: images[rows],
        features=features,
        patients=patients or (),
    )


@pytest.fixture
def sides() -> Callable[[np.ndarray], dict[str, Patches]]:
    train = side("train", tissue(0, 60), [f"P{i % 6}" for i in range(60)])
    return lambda fake: {"train": train, "held_out": side("held", tissue(1, 30)), "fake": side("fake", fake)}


def test_a_model_that_copies(sides):
    blank = np.full((2, 64, 64, 3), 240, np.uint8)
    found = audit_memorization(**sides(np.concatenate([tissue(0, 20)[:, ::-1], tissue(2, 20), blank])))
    assert [(c.fake_id, c.train_id, c.symmetry) for c in sorted(found.copies, key=lambda c: c.fake_row)] == [
        (f"fake-{i}", f"train-{i}", 6) for i in range(20)
    ]
    assert found.closest == found.copies[:12]
    assert (found.n_train, found.n_held_out, found.n_fake) == (60, 30, 42)
    assert (found.plain_train, found.plain_fake) == (0, 2)
    assert found.threshold.n == 30
    assert found.left_out_patients.n % 10 == 0 < found.left_out_patients.n


def test_a_model_that_does_not(sides):
    found = audit_memorization(**sides(tissue(2, 30)))
    assert found.copies == ()
    assert len(found.closest) == 12
    assert found.closest[0].similarity == max(pair.similarity for pair in found.closest) < found.threshold.value
    exact = audit_memorization(**sides(tissue(0, 30)))
    assert exact.synthetic.authenticity == 0.0
    assert found.synthetic.authenticity is not None
    assert found.left_out_patches.authenticity == pytest.approx(found.synthetic.authenticity, abs=0.25)


def test_the_record_is_plain_and_says_what_was_not_measured(sides):
    given = sides(tissue(0, 30))
    found = audit_memorization(train=given["train"], held_out=side("held", tissue(1, 0)), fake=given["fake"]).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found["synthetic"]["note"] == "C_T not measured: needs 20 synthetic and held-out patches, found 30 and 0"
    assert found["threshold"] == {"value": 0.85, "quantile": None, "n": 0, "reached": 0}
    assert found["copies"][0]["symmetry_name"] == "unchanged"


def test_nothing_to_compare_is_the_users_to_mend(sides):
    given = sides(tissue(0, 30))
    with pytest.raises(HistosynthError, match=r"no training patches.*the model was trained on"):
        audit_memorization(train=side("train", tissue(0, 0)), held_out=given["held_out"], fake=given["fake"])
    with pytest.raises(HistosynthError, match=r"no synthetic patches.*histosynth sample"):
        audit_memorization(**sides(tissue(0, 0)))
