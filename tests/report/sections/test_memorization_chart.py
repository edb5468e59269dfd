from io import BytesIO

import numpy as np
from PIL import Image

from histosynth.metrics.copies import Copy
from histosynth.metrics.symmetries import apply_symmetry
from histosynth.report.sections.memorization.chart import pair_sheet


def test_pairs_have_one_orientation_and_a_copy_has_no_difference():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    fake = np.concatenate([apply_symmetry(train[[3]], 5), apply_symmetry(train[[1]], 2) // 2])
    pairs = [
        Copy(fake_row=0, train_row=3, symmetry=5, similarity=1.0),
        Copy(fake_row=1, train_row=1, symmetry=2, similarity=0.9),
    ]
    data = pair_sheet(pairs, fake=lambda r: fake[r], train=lambda r: train[r], mark={"Source": "run"})
    with Image.open(BytesIO(data)) as image:
        assert image.info["Source"] == "run"
        sheet = np.asarray(image)
    assert sheet.shape == (2 * 80 + 4, 3 * 80 + 2 * 4, 3)
    synthetic, training, difference = (sheet[:80, x : x + 80] for x in (0, 84, 168))
    assert np.array_equal(synthetic, training)
    assert np.array_equal(synthetic[::5, ::5], fake[0])
    assert (difference == 255).all()
    below = sheet[84:, 168:248][::5, ::5].astype(int)
    expected = np.abs(fake[1].astype(int) - apply_symmetry(train[[1]], 2)[0])
    assert np.array_equal(below, np.stack([255 - np.minimum(3 * expected.max(axis=2), 255)] * 3, axis=2))
