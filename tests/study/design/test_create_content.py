"""What a study made from stores holds: balanced, spread and blinded cases that the seed decides, and its secrets."""

import json
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.store.part import Patch
from histosynth.store.png import decode_png
from histosynth.study.design.create import create
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import open_study

SMALL = StudySettings(cases=16, readers=3, practice=4, repeats=4, seed=5)


LABELS = ("IDHmut", "IDHwt")


Rows = Callable[[Path, str], list[tuple]]


def test_cases_are_balanced_held_out_and_spread(tmp_path, real, samples, rows, make):
    created = make(real, samples("unet"), samples("progan"), out=tmp_path / "study")
    cells = Counter(rows(created.study, 'SELECT part, label, truth, source FROM "case"'))
    for label in LABELS:
        assert cells["main", label, "real", "real"] == 4
        assert cells["main", label, "synthetic", "unet"] == cells["main", label, "synthetic", "progan"] == 2
    practice = {key: n for key, n in cells.items() if key[0] == "practice"}
    assert sum(practice.values()) == 4
    assert sum(n for key, n in practice.items() if key[2] == "real") == 2
    patients = Counter(
        rows(created.study, "SELECT label, patient_id FROM \"case\" WHERE truth = 'real' AND part = 'main'")
    )
    for label in LABELS:
        counts = [n for (cell_label, _), n in patients.items() if cell_label == label]
        assert len(counts) == 3  # all three held-out patients
        assert max(counts) - min(counts) <= 1
    assert {patient[-1] for _, patient in patients} == set("012")
    patches = rows(created.study, 'SELECT patch_id FROM "case"')
    assert len(set(patches)) == len(patches) == 20
    (warning,) = created.manifest["warnings"]
    assert "The 8 real cases come from 6 patients" in warning
    assert json.loads((created.study / "manifest.json").read_text())["cases"] == created.manifest["cases"]


def test_there_is_one_real_case_per_patient_where_there_are_enough(tmp_path, real, samples, rows, make):
    created = make(real, samples("unet"), out=tmp_path / "study", settings=StudySettings(cases=12))
    real_cases = rows(created.study, "SELECT patient_id FROM \"case\" WHERE truth = 'real'")
    assert len(set(real_cases)) == len(real_cases) == 6
    assert created.manifest["warnings"] == []


def min_crop_distance(picture: np.ndarray, patch: np.ndarray) -> float:
    side = len(picture)
    offsets = [(y, x) for y in range(len(patch) - side + 1) for x in range(len(patch) - side + 1)]
    return min(float(np.abs(picture - patch[y : y + side, x : x + side]).mean()) for y, x in offsets)


def test_pictures_without_crop_and_jpeg_are_the_patches(
    tmp_path, real, samples, real_patches, fake_patches, rows, make
):
    plain = SMALL.model_copy(update={"random_crop": False, "jpeg_history": 0})
    created = make(real, samples("unet"), out=tmp_path / "study", settings=plain)
    images = {patch.patch_id: patch.image for patch in [*real_patches(), *fake_patches("unet")]}
    pictures = rows(created.study, 'SELECT patch_id, png FROM "case" JOIN picture USING (case_id)')
    assert all(np.array_equal(decode_png(png), images[name]) for name, png in pictures)


def test_the_seed_decides_the_bytes_of_the_pictures(tmp_path, real, samples, rows, make):
    unet, query = samples("unet"), 'SELECT patch_id, png FROM "case" JOIN picture USING (case_id) ORDER BY patch_id'
    first, again = (rows(make(real, unet, out=tmp_path / name).study, query) for name in ("a", "b"))
    assert first == again
    other = dict(rows(make(real, unet, out=tmp_path / "c", settings=SMALL.model_copy(update={"seed": 6})).study, query))
    common = [(png, other[name]) for name, png in first if name in other]
    assert any(one != two for one, two in common)


def test_pictures_show_the_selected_patches(tmp_path, real, samples, real_patches, fake_patches, rows, make):
    created = make(real, samples("unet"), out=tmp_path / "study")
    images = {patch.patch_id: patch.image for patch in [*real_patches(), *fake_patches("unet")]}
    pictures = rows(created.study, 'SELECT patch_id, png FROM "case" JOIN picture USING (case_id)')
    assert len(pictures) == 20
    for name, png in pictures:
        picture = decode_png(png).astype(float)
        assert picture.shape == (12, 12, 3)
        # A crop of this patch, through JPEG: more like its best crop than like the best crop of any other patch.
        distances = {other: min_crop_distance(picture, image) for other, image in images.items()}
        assert min(distances, key=distances.get) == name
    assert len({len(png) for _, png in pictures}) == 1


def test_each_reader_sees_every_case_in_a_different_order(tmp_path, real, samples, rows, make):
    created = make(real, samples("unet"), out=tmp_path / "study")
    orders = []
    for reader in (1, 2, 3):
        shown = rows(
            created.study, f"SELECT position, part, case_id, is_repeat FROM presentation WHERE reader_id = {reader}"
        )
        shown.sort()
        assert [position for position, *_ in shown] == list(range(24))
        assert [part for _, part, *_ in shown] == ["practice"] * 4 + ["main"] * 20
        main = [(case, again) for _, part, case, again in shown if part == "main"]
        assert len({case for case, again in main if not again}) == 16
        assert sum(again for _, again in main) == 4
        orders.append(main)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    twice = [{case for case, again in order if again} for order in orders]
    assert len({frozenset(cases) for cases in twice}) > 1


def seeded_rows(rows: Rows, study: Path) -> list[tuple]:
    """Return what the seed decides."""
    shown = 'presentation JOIN "case" USING (case_id)'
    columns = "reader_id, position, presentation.part, patch_id, is_repeat"
    return rows(study, f"SELECT {columns} FROM {shown} ORDER BY reader_id, position")


def secrets(rows: Rows, study: Path) -> list[set[tuple]]:
    return [
        set(rows(study, query))
        for query in (
            'SELECT case_id FROM "case"',
            "SELECT presentation_id FROM presentation",
            "SELECT token_hash FROM reader",
        )
    ]


def test_the_seed_decides_everything_except_the_secrets(tmp_path, real, samples, rows, make):
    fake = samples("unet")
    one, same = (make(real, fake, out=tmp_path / name) for name in ("one", "same"))
    other = make(real, fake, out=tmp_path / "other", settings=SMALL.model_copy(update={"seed": 6}))
    assert seeded_rows(rows, one.study) == seeded_rows(rows, same.study)
    assert seeded_rows(rows, one.study) != seeded_rows(rows, other.study)
    for first, second in zip(secrets(rows, one.study), secrets(rows, same.study), strict=True):
        assert not first & second
    ids = [value for kind in secrets(rows, one.study) for (value,) in kind]
    assert len(set(ids)) == len(ids)
    assert set(one.links.values()).isdisjoint(same.links.values())


def test_adding_a_model_keeps_the_selected_real_cases(tmp_path, real, samples, rows, make):
    """With one more model (and as many cases of each), the previously selected real cases stay."""
    unet, progan = samples("unet"), samples("progan")
    query = "SELECT patch_id FROM \"case\" WHERE truth = 'real' AND part = 'main'"
    one = make(real, unet, out=tmp_path / "one", settings=StudySettings(cases=8))
    two = make(real, unet, progan, out=tmp_path / "two", settings=StudySettings(cases=16))
    assert set(rows(one.study, query)) < set(rows(two.study, query))


def test_tokens_are_stored_only_as_hashes(tmp_path, real, samples, make):
    created = make(real, samples("unet"), out=tmp_path / "study")
    content = b"".join(path.read_bytes() for path in created.study.iterdir())
    answers = Answers(open_study(created.study))
    for name, link in created.links.items():
        token = link.rpartition("/")[2]
        assert len(token) == 22  # 128 bits
        assert token.encode() not in content
        assert answers.reader_by_token(token, address="").name == name
    assert created.study.stat().st_mode & 0o077 == 0


def test_settings_are_stored_with_the_study(tmp_path, real, samples, rows, make):
    created = make(real, samples("unet"), out=tmp_path / "study")
    assert StudySettings.model_validate(tomllib.loads((created.study / "study.toml").read_text())) == SMALL
    settings = Answers(open_study(created.study)).info().settings
    assert (settings["patch_px"], settings["mpp"], settings["labels"]) == (16, 0.5, list(LABELS))
    declared = rows(created.study, "SELECT title, seed, margin, area_margin, alpha FROM study")
    assert declared == [("Real or synthetic?", 5, 0.1, 0.14, 0.05)]


def test_stores_without_labels(tmp_path, write_store, real_patches, fake_patches, rows, make):
    real = write_store(tmp_path / "real", [Patch(**{**vars(p), "label": None}) for p in real_patches()])
    fake = write_store(tmp_path / "unet", [Patch(**{**vars(p), "label": None}) for p in fake_patches("unet")])
    created = make(real, fake, out=tmp_path / "study")
    assert Counter(rows(created.study, 'SELECT part, label, truth FROM "case"')) == {
        ("main", None, "real"): 8, ("main", None, "synthetic"): 8,
        ("practice", None, "real"): 2, ("practice", None, "synthetic"): 2,
    }  # fmt: skip


def test_a_study_in_another_database(tmp_path, real, samples, monkeypatch):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    fake = samples("unet")
    monkeypatch.setattr("sys.argv", ["histosynth", "--database", url, f"--database={url}"])
    created = create(real, [(None, fake)], out=tmp_path / "study", settings=SMALL, database=url, progress=False)
    assert url not in (created.study / "manifest.json").read_text()
    assert {path.name for path in created.study.iterdir()} == {"study.toml", "manifest.json"}
    assert len(Answers(open_study(created.study, database=url)).progress()) == 3
    with pytest.raises(HistosynthError, match="already contains a study"):
        create(real, [(None, fake)], out=tmp_path / "again", settings=SMALL, database=url, progress=False)
    assert not (tmp_path / "again").exists()
