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


def test_an_audit_of_a_model_that_copies(sides):
    blank = np.full((2, 64, 64, 3), 240, np.uint8)
    audit = audit_memorization(**sides(np.concatenate([tissue(0, 20)[:, ::-1], tissue(2, 20), blank])))
    assert [(c.fake_id, c.train_id, c.symmetry) for c in sorted(audit.copies, key=lambda c: c.fake_row)] == [
        (f"fake-{i}", f"train-{i}", 6) for i in range(20)
    ]
    assert audit.closest == audit.copies[:12]
    assert (audit.n_train, audit.n_held_out, audit.n_fake) == (60, 30, 42)
    assert (audit.plain_train, audit.plain_fake) == (0, 2)
    assert audit.threshold.n == 30
    assert audit.left_out_patients.n % 10 == 0 < audit.left_out_patients.n


def test_an_audit_of_a_model_that_does_not_copy(sides):
    audit = audit_memorization(**sides(tissue(2, 30)))
    assert audit.copies == ()
    assert len(audit.closest) == 12
    assert audit.closest[0].similarity == max(pair.similarity for pair in audit.closest) < audit.threshold.value
    exact = audit_memorization(**sides(tissue(0, 30)))
    assert exact.synthetic.authenticity == 0.0
    assert audit.synthetic.authenticity is not None
    assert audit.left_out_patches.authenticity == pytest.approx(audit.synthetic.authenticity, abs=0.25)


def test_the_record_holds_plain_values_and_states_what_was_not_measured(sides):
    patches = sides(tissue(0, 30))
    record = audit_memorization(
        train=patches["train"], held_out=side("held", tissue(1, 0)), fake=patches["fake"]
    ).to_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["synthetic"]["note"] == "C_T not measured: needs 20 synthetic and held-out patches, found 30 and 0"
    assert record["threshold"] == {"value": 0.85, "quantile": None, "n": 0, "reached": 0}
    assert record["copies"][0]["symmetry_name"] == "unchanged"


def test_missing_patches_are_an_error_with_a_remedy(sides):
    patches = sides(tissue(0, 30))
    with pytest.raises(HistosynthError, match=r"no training patches.*the model was trained on"):
        audit_memorization(train=side("train", tissue(0, 0)), held_out=patches["held_out"], fake=patches["fake"])
    with pytest.raises(HistosynthError, match=r"no synthetic patches.*histosynth sample"):
        audit_memorization(**sides(tissue(0, 0)))
