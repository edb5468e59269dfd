"""Each measure changes in the expected direction when patches are degraded in known ways: drawn, then real tissue.

One half of the patches serves as training patches, the other as those of an ideal generator. A measure has changed if
it is outside the range of other halvings of the unchanged patches. `benchmarks/metrics/sensitivity.py` does the same at
length.
"""

import csv
from collections.abc import Callable
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from histosynth.metrics.classifier import LabeledFeatures, fit_classifier, measure_accuracy
from histosynth.metrics.color import ColorStatistics, color_distance, fit_stains, mean_shift
from histosynth.metrics.frechet import frechet_distance
from histosynth.metrics.kid import kid_interval
from histosynth.metrics.manifold import membership
from histosynth.metrics.memorization_audit import Patches, audit_memorization
from histosynth.metrics.morphology import compare_morphology, fit_pooled_stains, measure_images
from histosynth.metrics.statistics import Statistics
from histosynth.slides.phantom import GENOTYPES, draw_phantom
from histosynth.stain import tissue_pixels
from histosynth.stain.distance import stain_distance
from histosynth.stain.optical_density import to_density, to_rgb

PX, HALVINGS = 64, 5
Change = Callable[[np.ndarray], np.ndarray]


def bank(images: np.ndarray) -> np.ndarray:
    """Return color and texture of (N, H, W, 3): mean and spread of the densities, and of their detail at two scales."""
    density = to_density(images)
    fine = density - ndimage.gaussian_filter(density, (0, 1, 1, 0))
    middle = density - fine - ndimage.gaussian_filter(density, (0, 4, 4, 0))
    parts = [density.mean((1, 2)), *(x.std((1, 2)) for x in (density, fine, middle))]
    return np.concatenate(parts, axis=1).astype(np.float64)


@cache
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Return patches (N, 64, 64, 3) from within the tumors of two phantoms, and their labels."""
    images, labels = [], []
    for genotype in (GENOTYPES[0], GENOTYPES[2]):
        slide = draw_phantom(
            genotype, width_px=900, height_px=900, mpp=1.0, rng=np.random.default_rng([4, *genotype.encode()])
        )
        center = slide.outline.mean(axis=0).astype(int)
        n = 8
        left, top = center - n * PX // 2
        middle = slide.image[top : top + n * PX, left : left + n * PX]
        cut = middle.reshape(n, PX, n, PX, 3).swapaxes(1, 2).reshape(-1, PX, PX, 3)
        inside = [crop for crop in cut if len(tissue_pixels(crop.reshape(-1, 3))) > 0.5 * PX**2]
        images += inside
        labels += [genotype] * len(inside)
    return np.stack(images), np.array(labels)


def halves(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the training half and of the stand-in, equally many per label."""
    rng = np.random.default_rng(seed)
    both = [np.array_split(rng.permutation(np.flatnonzero(labels == k)), 2) for k in np.unique(labels)]
    return np.concatenate([a for a, _ in both]), np.concatenate([b for _, b in both])


def measures(train: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """Measure two sets without labels; features are standardized like the training ones."""
    real = bank(train)
    mean, scale = real.mean(axis=0), real.std(axis=0)
    x, y = (real - mean) / scale, (bank(fake) - mean) / scale
    inside = membership(x, y)
    colors = [ColorStatistics.of(images) for images in (fake, train)]
    fits = [fit_stains(images) for images in (fake, train)]
    return {
        "frechet": frechet_distance(Statistics.of(x), Statistics.of(y)),
        "kernel": kid_interval(x, y).value,
        **{name: getattr(inside, name) for name in ("precision", "recall", "density", "coverage")},
        "color": color_distance(*colors),
        "stain": stain_distance(*fits) if all(fits) else np.nan,
    }


def directions_of(values: dict[str, float], floor: list[dict[str, float]]) -> dict[str, str]:
    """Return the position of each measure relative to those of the floor."""
    edges = {m: (min(f[m] for f in floor), max(f[m] for f in floor)) for m in values}
    return {m: "up" if v > edges[m][1] else "down" if v < edges[m][0] else "still" for m, v in values.items()}


@cache
def floor_of_drawn() -> list[dict[str, float]]:
    images, labels = drawn()
    return [measures(*(images[rows] for rows in halves(labels, seed))) for seed in range(HALVINGS)]


def jpeg(image: np.ndarray, quality: int = 30) -> np.ndarray:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def noisy(images: np.ndarray) -> np.ndarray:
    return (images + np.random.default_rng(0).normal(0, 10, images.shape)).clip(0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(images, (0, 2, 2, 0))


NOT_REAL = {"frechet": "up", "kernel": "up", "precision": "down", "density": "down", "coverage": "down"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (blurred, {**NOT_REAL, "recall": "down"}),
        (lambda x: np.stack([jpeg(i) for i in x]), NOT_REAL),
        (noisy, NOT_REAL),
        (lambda x: to_rgb(to_density(x) * np.float32([1.15, 1, 0.85])), {**NOT_REAL, "color": "up", "stain": "up"}),
        # a generator with too little variety: each patch is real, and most real ones have no counterpart
        (lambda x: x[np.arange(len(x)) // 20 * 20], {"recall": "down", "coverage": "down", "frechet": "up"}),
    ],
    ids=["blur", "JPEG 30", "noise", "color", "few modes"],
)
def test_measures_change_in_the_expected_direction(change: Change, expected):
    images, labels = drawn()
    train, fake = (images[rows] for rows in halves(labels, 0))
    directions = directions_of(measures(train, change(fake)), floor_of_drawn())
    assert {m: directions[m] for m in expected} == expected


def test_dropped_modes_do_not_lower_precision():
    """One class drawn as the other: every patch is real, and half of the real ones have no counterpart."""
    images, labels = drawn()
    train, fake = halves(labels, 0)
    one = fake[labels[fake] == labels[0]]
    directions = directions_of(measures(images[train], images[one]), floor_of_drawn())
    assert (directions["recall"], directions["coverage"], directions["frechet"]) == ("down", "down", "up")
    assert directions["precision"] != "down"


def test_shuffled_labels_change_only_measures_of_labels():
    images, labels = drawn()
    train, fake = halves(labels, 0)
    x = bank(images)
    wrong = np.random.default_rng(0).permutation(labels[fake])
    teacher = fit_classifier(LabeledFeatures.of(x[train], labels[train], name="training"), rng=np.random.default_rng(0))
    right, shuffled = (
        measure_accuracy(
            teacher, LabeledFeatures.of(x[fake], assigned, name="synthetic"), rng=np.random.default_rng(0)
        ).balanced
        for assigned in (labels[fake], wrong)
    )
    assert right.low > 0.9
    assert shuffled.low < 0.5 < shuffled.high < right.low, "two labels: guessing reaches one half"

    def own_label_nearest(assigned: np.ndarray) -> list[bool]:
        """Return whether the training patches of the same label are the nearest, for each label."""
        names = np.unique(labels)
        real = [Statistics.of(x[train][labels[train] == name]) for name in names]
        synthetic = [Statistics.of(x[fake][assigned == name]) for name in names]
        return [int(np.argmin([frechet_distance(r, s) for r in real])) == i for i, s in enumerate(synthetic)]

    assert own_label_nearest(labels[fake]) == [True, True]
    swapped = np.where(labels[fake] == labels[0], labels[-1], labels[0])
    assert own_label_nearest(swapped) == [False, False]


def test_copies_are_found_one_by_one_although_distances_give_no_warning():
    images, labels = drawn()
    train, fake = (images[rows] for rows in halves(labels, 0))
    planted = np.arange(0, len(fake), 10)
    mirrored, pressed = fake.copy(), fake.copy()
    mirrored[planted] = train[planted, :, ::-1]
    pressed[planted] = [jpeg(image, 75) for image in mirrored[planted]]

    def audited(synthetic: np.ndarray):
        train_side, fake_side = (
            Patches(ids=[str(i) for i in range(len(x))], images=x.__getitem__, features=bank(x).astype(np.float32))
            for x in (train, synthetic)
        )
        none = Patches(ids=[], images=train.__getitem__, features=np.empty((0, 12), np.float32))
        return audit_memorization(train=train_side, held_out=none, fake=fake_side)

    before, *after = (audited(synthetic) for synthetic in (fake, mirrored, pressed))
    assert not before.copies
    for audit in after:
        assert {(c.fake_row, c.train_row) for c in audit.copies} == {(i, i) for i in planted}
    assert after[0].synthetic.authenticity < before.synthetic.authenticity
    directions = directions_of(measures(train, mirrored), floor_of_drawn())
    assert directions["frechet"] != "up", "distances and shares give no warning"
    assert "down" not in (directions["precision"], directions["recall"], directions["density"], directions["coverage"])


def test_copies_alone_look_better_than_new_tissue():
    """The reason not to interpret a distance to training patches without the audit."""
    images, labels = drawn()
    train, _ = (images[rows] for rows in halves(labels, 0))
    directions = directions_of(measures(train, train[:, :, ::-1]), floor_of_drawn())
    assert directions["frechet"] == directions["kernel"] == "down"
    assert directions["precision"] != "down"


def test_color_shows_the_direction_of_a_shift_and_nuclei_show_blur():
    images, labels = drawn()
    train, fake = (images[rows] for rows in halves(labels, 0))
    darker = to_rgb(to_density(fake) * np.float32(1.2))
    shift = mean_shift(ColorStatistics.of(darker), ColorStatistics.of(train))
    assert (shift > 0).all()
    stains = fit_pooled_stains(train)
    real, same, soft = (measure_images(x[:20], mpp=[1.0] * 20, fit=stains) for x in (train, fake, blurred(fake)))
    floor, blurred_difference = compare_morphology(same, real), compare_morphology(soft, real)
    for feature in ("hematoxylin", "halo"):
        assert blurred_difference[feature].distance_sd > 2 * floor[feature].distance_sd, feature
        assert blurred_difference[feature].medians[0] < blurred_difference[feature].medians[1], (
            f"{feature}: paler, without rims"
        )


@pytest.mark.real
def test_real_tissue_in_the_features_of_a_network(shared_data):
    """Six tiles of osteosarcoma, eight crops each: the floor, blur, noise, and another class instead of one."""
    from histosynth.metrics.extractors.efficientnet_lite0 import EfficientNetLite0

    folder, network, crops = shared_data / "osteosarcoma_10x", EfficientNetLite0("cpu"), {}
    with (folder / "labels.csv").open() as table:
        for row in csv.DictReader(table):
            own = crops.setdefault(row["class"], [])
            if row["case"] in ("Case-3", "Case-48") and len(own) < 24:
                image = np.asarray(Image.open(folder / "images" / row["file"]).convert("RGB"))
                own += [image[y : y + 128, x : x + 128] for x in (128, 512, 768) for y in (0, 256, 512, 768)]
    viable, dead = (np.stack(crops[label]) for label in ("Viable", "Non-Viable-Tumor"))
    train, fake = viable[::2], viable[1::2]
    sides = {"train": train, "fake": fake, "blur": blurred(fake), "noise": noisy(fake), "dead": dead[::2]}
    x = {name: network(images) for name, images in sides.items()}
    apart = {name: frechet_distance(Statistics.of(x["train"]), Statistics.of(y)) for name, y in x.items()}
    assert apart["train"] < 1e-6 < apart["fake"] < min(apart["blur"], apart["noise"], apart["dead"])
    shares = {name: membership(x["train"], y) for name, y in x.items()}
    assert shares["blur"].recall < shares["fake"].recall
    assert shares["dead"].coverage < shares["fake"].coverage
