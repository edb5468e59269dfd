from io import BytesIO

import numpy as np
from PIL import Image

from histosynth.metrics.morphology import MORPHOLOGY_FEATURES, Morphology, Nuclei
from histosynth.metrics.morphology.shapes import NUCLEUS_DTYPE
from histosynth.report.charts import ACCENT
from histosynth.report.sections.morphology.chart import draw_nuclei, morphology_chart


def opened(data: bytes) -> tuple[np.ndarray, dict]:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")), image.info


def test_the_outline_is_one_pixel_wide_and_inside_the_nucleus():
    image = np.random.default_rng(0).integers(0, 200, (40, 40, 3)).astype(np.uint8)
    labels = np.zeros((80, 80), np.int32)
    labels[20:40, 30:50], labels[40:60, 30:50] = 1, 2  # two that touch
    blank = np.zeros((80, 80), np.float32)
    nuclei = Nuclei(labels=labels, hematoxylin=blank, optical_density=blank, pitch_um=0.5)
    sheet, info = opened(draw_nuclei(image, nuclei, texts={"Source": "run"}))
    without = Nuclei(labels=0 * labels, hematoxylin=blank, optical_density=blank, pitch_um=0.5)
    plain, _ = opened(draw_nuclei(image, without))
    assert plain.shape == (80, 80, 3)
    assert np.array_equal(plain, image.repeat(2, axis=0).repeat(2, axis=1))
    inner = np.zeros((80, 80), bool)
    inner[20:60, 30:50] = True
    inner[21:39, 31:49] = inner[41:59, 31:49] = False
    assert np.array_equal((sheet != plain).any(axis=2), inner)
    assert info["Source"] == "run"


def morphology(n: int, seed: int) -> Morphology:
    rng = np.random.default_rng(seed)
    table = np.empty(n, NUCLEUS_DTYPE)
    for name in NUCLEUS_DTYPE.names:
        table[name] = rng.random(n)
    return Morphology(nuclei=table, patch=np.zeros(n, np.int64), density_per_mm2=rng.random(min(n, 3)), assumed_mpp=0)


def test_the_chart_shows_the_sides_that_are_present():
    real = {"held_out": morphology(50, 0), "train": morphology(900, 1)}
    without_fake, _ = opened(morphology_chart({"IDHwt": real}))
    with_fake, _ = opened(morphology_chart({"IDHwt": {**real, "fake": morphology(50, 2)}}))
    accent = np.array([int(ACCENT[i : i + 2], 16) for i in (1, 3, 5)])
    assert not (without_fake == accent).all(axis=2).any()
    drawn = np.flatnonzero((with_fake == accent).all(axis=2).any(axis=0))
    width = with_fake.shape[1] / len(MORPHOLOGY_FEATURES)
    assert {int(x // width) for x in drawn} == set(range(len(MORPHOLOGY_FEATURES)))  # a curve in every panel


def test_sides_without_nuclei_give_a_chart_without_curves():
    empty = Morphology(nuclei=np.empty(0, NUCLEUS_DTYPE), patch=np.empty(0, np.int64), density_per_mm2=np.zeros(4),
                       assumed_mpp=0)  # fmt: skip
    sheet, _ = opened(morphology_chart({"IDHmut": {"fake": empty}, "IDHwt": {}}))
    assert sheet.std() > 0
