"""What one method cannot fit, the fallback normalizes if it is asked for; a store of mixed colors says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.config import load_settings
from histosynth.normalization.mixed_colors import mixed_colors
from histosynth.normalization.normalize import normalize
from histosynth.normalization.staining import build_normalization, normalize_slide
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest

H, E = np.array([0.6511, 0.7012, 0.2905]), np.array([0.2159, 0.8012, 0.5581])
SIDE = 32


def tissue(seed: int, *, first: np.ndarray = H, second: np.ndarray = E) -> np.ndarray:
    """Draw a patch of two stains."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.1, 1.2, (SIDE, SIDE, 2))
    light = 240 * np.exp(-amounts @ np.stack([first, second])) + rng.normal(0, 1, (SIDE, SIDE, 3))
    return np.clip(light, 0, 255).astype(np.uint8)


ONE_STAIN = tissue(7, first=E, second=E)
DAB = tissue(8, first=0.2 * H, second=np.array([0.268, 0.570, 0.776]))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three slides: H&E, eosin alone, and mostly DAB."""
    directory = tmp_path / "raw"
    directory.mkdir()
    for slide, images in {"he": [tissue(n) for n in range(4)], "eosin": [ONE_STAIN], "dab": [DAB]}.items():
        rows = [
            Patch(patch_id=f"{slide}{n}", image=image, source="real", slide_id=slide, split="train", stain="raw")
            for n, image in enumerate(images)
        ]
        write_part(part_path(directory, slide), rows, fingerprint="f")
    write_manifest(directory, {})
    return directory


@pytest.mark.parametrize("per", ["slide", "patch"])
def test_the_fallback_normalizes_what_the_method_cannot_fit(raw: Path, tmp_path: Path, per: Any) -> None:
    alone = normalize(raw, out=tmp_path / "alone", per=per, progress=False)
    assert dict(alone.patches) == {"normalized": 4, "skipped:foreign-color": 1, "skipped:one-stain": 1}
    both = normalize(raw, out=tmp_path / "both", per=per, fallback="reinhard", progress=False)
    assert dict(both.patches) == {"normalized": 4, "normalized:reinhard": 1, "skipped:foreign-color": 1}
    store, plain = Store(tmp_path / "both"), Store(tmp_path / "alone")
    row = store.column("patch_id").index("eosin0")
    expected = normalize_slide({"": ONE_STAIN}, build_normalization("reinhard")).images[0]
    assert (store.images([row])[0] == expected).all()
    for other in set(range(len(store))) - {row}:
        assert (store.images([other]) == plain.images([other])).all()
    assert store.manifest["staining"]["fallback"]["method"] == "reinhard"
    assert store.manifest["settings"]["stain_fallback"] == "reinhard"


def test_the_record_states_what_the_fallback_replaced(raw: Path) -> None:
    normalization = build_normalization("macenko", fallback="reinhard")
    record = normalize_slide({"a": ONE_STAIN}, normalization).record
    assert (record["status"], record["instead_of"]) == ("normalized:reinhard", "skipped:one-stain")
    assert len(record["mean"]) == 3


def test_the_torch_backend_falls_back_too(raw: Path, tmp_path: Path) -> None:
    for device in (None, "cpu"):
        normalize(raw, out=tmp_path / f"out{device}", per="patch", fallback="reinhard", device=device, progress=False)
    one, two = Store(tmp_path / "outNone"), Store(tmp_path / "outcpu")
    assert one.column("stain") == two.column("stain")
    assert np.abs(one.images(range(6)).astype(int) - two.images(range(6))).max() <= 1


def test_a_setting_asks_for_the_fallback_in_patches() -> None:
    assert load_settings(None, overrides=["patches.stain_fallback=reinhard"]).patches.stain_fallback == "reinhard"
    assert build_normalization("macenko").fallback is None


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        ({"normalized": 200}, None),
        ({"raw": 200}, None),
        ({None: 200}, None),
        ({"skipped:one-stain": 200}, None),
        ({"normalized": 199, "skipped:black": 1}, None),
        (
            {"normalized": 120, "skipped:foreign-color": 80},
            "40% of the patches of store kept their raw colors",
        ),
        ({"normalized": 190, "normalized:reinhard": 10}, "Different methods normalized the patches of store (190 norm"),
    ],
)
def test_a_store_of_mixed_colors_says_so(tmp_path: Path, statuses: dict[Any, int], sentence: str | None) -> None:
    (tmp_path / "store").mkdir()
    image = np.zeros((8, 8, 3), np.uint8)
    stains = [status for status, count in statuses.items() for _ in range(count)]
    rows = [Patch(patch_id=str(n), image=image, source="real", stain=stain) for n, stain in enumerate(stains)]
    write_part(part_path(tmp_path / "store", "a"), rows, fingerprint="f")
    write_manifest(tmp_path / "store", {})
    caution = mixed_colors(Store(tmp_path / "store"))
    assert caution == sentence if sentence is None else sentence in str(caution)
