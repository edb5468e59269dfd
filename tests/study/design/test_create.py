"""A study from stores: balanced, spread, blinded, deterministic except for its secrets, and written as a whole."""

import json
import sqlite3
import threading
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import decode_png
from histosynth.store.store import Store, write_manifest
from histosynth.study.design.create import create
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import open_study

SMALL = StudySettings(cases=16, readers=3, practice=4, repeats=4, seed=5)
LABELS = ("IDHmut", "IDHwt")


def write_store(path: Path, patches: list[Patch], **manifest: object) -> Path:
    path.mkdir()
    write_part(part_path(path, "a"), patches, fingerprint="f")
    write_manifest(path, manifest)
    return path


def random_images(count: int, *, seed: int, px: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, px, px, 3), dtype=np.uint8)


def real_patches(*, per_patient: int = 4, labels=LABELS, px: int = 16, stain: str | None = "normalized") -> list[Patch]:
    """Return patches of five patients per label, two of them training patients."""
    names = [(label, patient, i) for label in labels for patient in range(5) for i in range(per_patient)]
    return [
        Patch(patch_id=f"{label}-{patient}-{i}", image=image, source="real", label=label, slide_id=f"{label}-{patient}",
              patient_id=f"{label}-{patient}", split="held_out" if patient < 3 else "train", mpp=0.5, stain=stain)
        for (label, patient, i), image in zip(names, random_images(len(names), seed=1, px=px), strict=True)
    ]  # fmt: skip


def fake_patches(
    source: str, *, count: int = 12, labels=LABELS, mpp: float | None = 0.5, **more: object
) -> list[Patch]:
    images = random_images(count * len(labels), seed=len(source))
    return [
        Patch(patch_id=f"{source}-{i}", image=image, source=source, label=labels[i % len(labels)], mpp=mpp, **more)
        for i, image in enumerate(images)
    ]


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return write_store(tmp_path / "real", real_patches())


@pytest.fixture
def samples(tmp_path: Path, real: Path):
    def write(name: str, **options: object) -> Path:
        made_with = {"data_hash": Store(real).content_hash()}
        manifest = {"made_with": made_with, "train_split": options.pop("train_split", "train")}
        return write_store(tmp_path / name, fake_patches(name, **options), **manifest)

    return write


def rows(study: Path, query: str) -> list[tuple]:
    file = sqlite3.connect(study / "study.db")
    try:
        return file.execute(query).fetchall()
    finally:
        file.close()


def make(real: Path, *fakes: Path, out: Path, settings: StudySettings = SMALL):
    return create(real, [(None, fake) for fake in fakes], out=out, settings=settings, progress=False)


def test_cases_are_balanced_held_out_and_spread(tmp_path, real, samples):
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


def test_there_is_one_real_case_per_patient_where_there_are_enough(tmp_path, real, samples):
    created = make(real, samples("unet"), out=tmp_path / "study", settings=StudySettings(cases=12))
    real_cases = rows(created.study, "SELECT patient_id FROM \"case\" WHERE truth = 'real'")
    assert len(set(real_cases)) == len(real_cases) == 6
    assert created.manifest["warnings"] == []


def min_crop_distance(picture: np.ndarray, patch: np.ndarray) -> float:
    side = len(picture)
    offsets = [(y, x) for y in range(len(patch) - side + 1) for x in range(len(patch) - side + 1)]
    return min(float(np.abs(picture - patch[y : y + side, x : x + side]).mean()) for y, x in offsets)


def test_of_two_commands_for_one_study_only_one_creates_it(tmp_path, real, samples):
    unet, results = samples("unet"), []
    start = threading.Barrier(4)

    def command() -> None:
        start.wait()
        try:
            results.append(make(real, unet, out=tmp_path / "study"))
        except HistosynthError as error:
            results.append(str(error))

    threads = [threading.Thread(target=command) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    created, *errors = sorted(results, key=lambda result: isinstance(result, str))
    assert all("is being written by another command" in text or "never overwritten" in text for text in errors)
    answers = Answers(open_study(created.study))
    assert all(answers.reader_by_token(link.rpartition("/")[2], address="") for link in created.links.values())
    assert {path.name for path in tmp_path.iterdir()} == {"real", "unet", "study"}


def test_pictures_without_crop_and_jpeg_are_the_patches(tmp_path, real, samples):
    plain = SMALL.model_copy(update={"random_crop": False, "jpeg_history": 0})
    created = make(real, samples("unet"), out=tmp_path / "study", settings=plain)
    images = {patch.patch_id: patch.image for patch in [*real_patches(), *fake_patches("unet")]}
    pictures = rows(created.study, 'SELECT patch_id, png FROM "case" JOIN picture USING (case_id)')
    assert all(np.array_equal(decode_png(png), images[name]) for name, png in pictures)


def test_the_seed_decides_the_bytes_of_the_pictures(tmp_path, real, samples):
    unet, query = samples("unet"), 'SELECT patch_id, png FROM "case" JOIN picture USING (case_id) ORDER BY patch_id'
    first, again = (rows(make(real, unet, out=tmp_path / name).study, query) for name in ("a", "b"))
    assert first == again
    other = dict(rows(make(real, unet, out=tmp_path / "c", settings=SMALL.model_copy(update={"seed": 6})).study, query))
    common = [(png, other[name]) for name, png in first if name in other]
    assert any(one != two for one, two in common)


def test_pictures_show_the_selected_patches(tmp_path, real, samples):
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


def test_each_reader_sees_every_case_in_a_different_order(tmp_path, real, samples):
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


def seeded_rows(study: Path) -> list[tuple]:
    """Return what the seed decides."""
    shown = 'presentation JOIN "case" USING (case_id)'
    columns = "reader_id, position, presentation.part, patch_id, is_repeat"
    return rows(study, f"SELECT {columns} FROM {shown} ORDER BY reader_id, position")


def secrets(study: Path) -> list[set[tuple]]:
    return [
        set(rows(study, query))
        for query in (
            'SELECT case_id FROM "case"',
            "SELECT presentation_id FROM presentation",
            "SELECT token_hash FROM reader",
        )
    ]


def test_the_seed_decides_everything_except_the_secrets(tmp_path, real, samples):
    fake = samples("unet")
    one, same = (make(real, fake, out=tmp_path / name) for name in ("one", "same"))
    other = make(real, fake, out=tmp_path / "other", settings=SMALL.model_copy(update={"seed": 6}))
    assert seeded_rows(one.study) == seeded_rows(same.study)
    assert seeded_rows(one.study) != seeded_rows(other.study)
    for first, second in zip(secrets(one.study), secrets(same.study), strict=True):
        assert not first & second
    ids = [value for kind in secrets(one.study) for (value,) in kind]
    assert len(set(ids)) == len(ids)
    assert set(one.links.values()).isdisjoint(same.links.values())


def test_adding_a_model_keeps_the_selected_real_cases(tmp_path, real, samples):
    """With one more model (and as many cases of each), the previously selected real cases stay."""
    unet, progan = samples("unet"), samples("progan")
    query = "SELECT patch_id FROM \"case\" WHERE truth = 'real' AND part = 'main'"
    one = make(real, unet, out=tmp_path / "one", settings=StudySettings(cases=8))
    two = make(real, unet, progan, out=tmp_path / "two", settings=StudySettings(cases=16))
    assert set(rows(one.study, query)) < set(rows(two.study, query))


def test_tokens_are_stored_only_as_hashes(tmp_path, real, samples):
    created = make(real, samples("unet"), out=tmp_path / "study")
    content = b"".join(path.read_bytes() for path in created.study.iterdir())
    answers = Answers(open_study(created.study))
    for name, link in created.links.items():
        token = link.rpartition("/")[2]
        assert len(token) == 22  # 128 bits
        assert token.encode() not in content
        assert answers.reader_by_token(token, address="").name == name
    assert created.study.stat().st_mode & 0o077 == 0


def test_settings_are_stored_with_the_study(tmp_path, real, samples):
    created = make(real, samples("unet"), out=tmp_path / "study")
    assert StudySettings.model_validate(tomllib.loads((created.study / "study.toml").read_text())) == SMALL
    settings = Answers(open_study(created.study)).info().settings
    assert (settings["patch_px"], settings["mpp"], settings["labels"]) == (16, 0.5, list(LABELS))
    declared = rows(created.study, "SELECT title, seed, margin, area_margin, alpha FROM study")
    assert declared == [("Real or synthetic?", 5, 0.1, 0.14, 0.05)]


def test_stores_without_labels(tmp_path):
    real = write_store(tmp_path / "real", [Patch(**{**vars(p), "label": None}) for p in real_patches()])
    fake = write_store(tmp_path / "unet", [Patch(**{**vars(p), "label": None}) for p in fake_patches("unet")])
    created = make(real, fake, out=tmp_path / "study")
    assert Counter(rows(created.study, 'SELECT part, label, truth FROM "case"')) == {
        ("main", None, "real"): 8, ("main", None, "synthetic"): 8,
        ("practice", None, "real"): 2, ("practice", None, "synthetic"): 2,
    }  # fmt: skip


def test_weaknesses_are_reported_as_warnings(tmp_path, real):
    fake = write_store(tmp_path / "fake", fake_patches("fake", labels=("IDHmut", "other"), mpp=None))
    created = make(real, fake, out=tmp_path / "study", settings=StudySettings(cases=4, allow_training_patients=True))
    warnings = " ".join(created.manifest["warnings"])
    for part in (
        "no microns per pixel",
        "It is not known what fake was trained on",
        "include training patients",
        "Genotype IDHwt is left out: it is missing in fake.",
        "Genotype other is left out: it is missing in held-out real patches.",
    ):
        assert part in warnings


def test_too_few_normalizable_patches_leave_nothing_behind(tmp_path):
    blank = [Patch(**{**vars(p), "image": np.full((16, 16, 3), 250, np.uint8)}) for p in fake_patches("unet")]
    fake = write_store(tmp_path / "unet", blank)
    real = write_store(tmp_path / "real", real_patches())
    with pytest.raises(HistosynthError, match=r"too few patches of .* can be normalized by macenko"):
        make(real, fake, out=tmp_path / "study", settings=SMALL.model_copy(update={"normalize": "macenko"}))
    assert not list(tmp_path.glob("*study*"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"cases": 18}, "multiple of 4 as --cases, such as 16 or 20"),
        ({"cases": 80}, "12 patches of held-out real tissue, IDHmut, but 80 cases need 20 of them"),
        ({"repeats": 10}, "pass --repeats of at most 8"),
        ({"normalize": "none"}, "does not change colors"),
        ({"normalize": "makenko"}, "did you mean 'macenko'"),
    ],
)
def test_invalid_settings_leave_nothing_behind(tmp_path, real, samples, change, error):
    fake, before = samples("unet"), set(tmp_path.iterdir())
    with pytest.raises(HistosynthError, match=error):
        make(real, fake, out=tmp_path / "study", settings=SMALL.model_copy(update=change))
    assert set(tmp_path.iterdir()) - before == {tmp_path / "unet"} - before


def test_stores_that_do_not_match_are_rejected(tmp_path, real, samples):
    for name, patches, error in (
        ("wide", fake_patches("wide", mpp=0.6), "scales differ"),
        ("raw", fake_patches("raw", stain="raw"), "stains differ"),
        ("real2", real_patches(), "swap --real and --fake"),
        ("labels", fake_patches("labels", labels=("other",)), "no genotype is in all stores"),
    ):
        with pytest.raises(HistosynthError, match=error):
            make(real, write_store(tmp_path / name, patches), out=tmp_path / "study")
    with pytest.raises(HistosynthError, match="patch sizes differ"):
        make(write_store(tmp_path / "big", real_patches(px=32)), samples("unet"), out=tmp_path / "study")
    with pytest.raises(HistosynthError, match="cannot be called 'unet'"):
        make(real, tmp_path / "unet", tmp_path / "unet", out=tmp_path / "study")
    with pytest.raises(HistosynthError, match="was trained on all patients"):
        make(real, samples("everyone", train_split="all"), out=tmp_path / "study")
    train = write_store(tmp_path / "train", [p for p in real_patches() if p.split == "train"])
    with pytest.raises(HistosynthError, match="holds out no patient"):
        make(train, tmp_path / "unet", out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_study_is_never_overwritten(tmp_path, real, samples):
    created = make(real, samples("unet"), out=tmp_path / "study")
    before = (created.study / "study.db").read_bytes()
    with pytest.raises(HistosynthError, match="never overwritten"):
        make(real, tmp_path / "unet", out=tmp_path / "study")
    assert (created.study / "study.db").read_bytes() == before


def test_a_failure_at_the_last_step_leaves_nothing_behind(tmp_path, real, samples, monkeypatch):
    monkeypatch.setattr("histosynth.study.design.create.populate", lambda *_, **__: 1 / 0)
    fake = samples("unet")
    with pytest.raises(ZeroDivisionError):
        make(real, fake, out=tmp_path / "study")
    assert {path.name for path in tmp_path.iterdir()} == {"real", "unet"}


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
