"""From stores to a study: balanced, spread, blinded, deterministic but for its secrets, and whole or not at all."""

import json
import sqlite3
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


def drawn(count: int, *, seed: int, px: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, px, px, 3), dtype=np.uint8)


def real_patches(*, per_patient: int = 4, labels=LABELS, px: int = 16, stain: str | None = "normalized") -> list[Patch]:
    """Five patients a label, two of them training patients."""
    names = [(label, patient, i) for label in labels for patient in range(5) for i in range(per_patient)]
    return [
        Patch(patch_id=f"{label}-{patient}-{i}", image=image, source="real", label=label, slide_id=f"{label}-{patient}",
              patient_id=f"{label}-{patient}", split="held_out" if patient < 3 else "train", mpp=0.5, stain=stain)
        for (label, patient, i), image in zip(names, drawn(len(names), seed=1, px=px), strict=True)
    ]  # fmt: skip


def fake_patches(
    source: str, *, count: int = 12, labels=LABELS, mpp: float | None = 0.5, **more: object
) -> list[Patch]:
    images = drawn(count * len(labels), seed=len(source))
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
    made = make(real, samples("unet"), samples("progan"), out=tmp_path / "study")
    cells = Counter(rows(made.study, 'SELECT part, label, truth, source FROM "case"'))
    for label in LABELS:
        assert cells["main", label, "real", "real"] == 4
        assert cells["main", label, "synthetic", "unet"] == cells["main", label, "synthetic", "progan"] == 2
    practice = {key: n for key, n in cells.items() if key[0] == "practice"}
    assert sum(practice.values()) == 4
    assert sum(n for key, n in practice.items() if key[2] == "real") == 2
    patients = Counter(
        rows(made.study, "SELECT label, patient_id FROM \"case\" WHERE truth = 'real' AND part = 'main'")
    )
    for label in LABELS:
        counts = [n for (found, _), n in patients.items() if found == label]
        assert len(counts) == 3  # the held-out ones, all three
        assert max(counts) - min(counts) <= 1
    assert {patient[-1] for _, patient in patients} == set("012")
    patches = rows(made.study, 'SELECT patch_id FROM "case"')
    assert len(set(patches)) == len(patches) == 20
    assert made.manifest["warnings"] == []
    assert json.loads((made.study / "manifest.json").read_text())["cases"] == made.manifest["cases"]


def test_pictures_are_those_patches(tmp_path, real, samples):
    made = make(real, samples("unet"), out=tmp_path / "study")
    images = {patch.patch_id: patch.image for patch in [*real_patches(), *fake_patches("unet")]}
    found = rows(made.study, 'SELECT patch_id, png FROM "case" JOIN picture USING (case_id)')
    assert len(found) == 20
    assert all(np.array_equal(decode_png(png), images[name]) for name, png in found)
    assert len({len(png) for _, png in found}) == 1


def test_each_reader_sees_every_case_in_an_order_of_their_own(tmp_path, real, samples):
    made = make(real, samples("unet"), out=tmp_path / "study")
    orders = []
    for reader in (1, 2, 3):
        shown = rows(
            made.study, f"SELECT position, part, case_id, is_repeat FROM presentation WHERE reader_id = {reader}"
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


def told(study: Path) -> list[tuple]:
    """What the seed decides."""
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


def test_the_seed_decides_everything_but_the_secrets(tmp_path, real, samples):
    fake = samples("unet")
    one, same = (make(real, fake, out=tmp_path / name) for name in ("one", "same"))
    other = make(real, fake, out=tmp_path / "other", settings=SMALL.model_copy(update={"seed": 6}))
    assert told(one.study) == told(same.study)
    assert told(one.study) != told(other.study)
    for here, there in zip(secrets(one.study), secrets(same.study), strict=True):
        assert not here & there
    ids = [value for kind in secrets(one.study) for (value,) in kind]
    assert len(set(ids)) == len(ids)
    assert set(one.links.values()).isdisjoint(same.links.values())


def test_another_model_changes_no_other_choice(tmp_path, real, samples):
    """Real cases are nested: with one more model (and as many cases of each), the old ones stay."""
    unet, progan = samples("unet"), samples("progan")
    query = "SELECT patch_id FROM \"case\" WHERE truth = 'real' AND part = 'main'"
    one = make(real, unet, out=tmp_path / "one", settings=StudySettings(cases=8))
    two = make(real, unet, progan, out=tmp_path / "two", settings=StudySettings(cases=16))
    assert set(rows(one.study, query)) < set(rows(two.study, query))


def test_tokens_are_told_once_and_kept_as_hashes(tmp_path, real, samples):
    made = make(real, samples("unet"), out=tmp_path / "study")
    content = b"".join(path.read_bytes() for path in made.study.iterdir())
    answers = Answers(open_study(made.study))
    for name, link in made.links.items():
        token = link.rpartition("/")[2]
        assert len(token) == 22  # 128 bits
        assert token.encode() not in content
        assert answers.reader_by_token(token, address="").name == name
    assert made.study.stat().st_mode & 0o077 == 0


def test_settings_lie_beside_it(tmp_path, real, samples):
    made = make(real, samples("unet"), out=tmp_path / "study")
    assert StudySettings.model_validate(tomllib.loads((made.study / "study.toml").read_text())) == SMALL
    settings = Answers(open_study(made.study)).info().settings
    assert (settings["patch_px"], settings["mpp"], settings["labels"]) == (16, 0.5, list(LABELS))
    assert rows(made.study, "SELECT title, seed, margin, alpha FROM study") == [("Real or synthetic?", 5, 0.1, 0.05)]


def test_stores_without_labels_make_a_study(tmp_path):
    real = write_store(tmp_path / "real", [Patch(**{**vars(p), "label": None}) for p in real_patches()])
    fake = write_store(tmp_path / "unet", [Patch(**{**vars(p), "label": None}) for p in fake_patches("unet")])
    made = make(real, fake, out=tmp_path / "study")
    assert Counter(rows(made.study, 'SELECT part, label, truth FROM "case"')) == {
        ("main", None, "real"): 8, ("main", None, "synthetic"): 8,
        ("practice", None, "real"): 2, ("practice", None, "synthetic"): 2,
    }  # fmt: skip


def test_what_weakens_a_study_is_said(tmp_path, real):
    fake = write_store(tmp_path / "fake", fake_patches("fake", labels=("IDHmut", "other"), mpp=None))
    made = make(real, fake, out=tmp_path / "study", settings=StudySettings(cases=4, allow_training_patients=True))
    said = " ".join(made.manifest["warnings"])
    for part in (
        "no microns per pixel",
        "What fake was trained on is not known",
        "from training patients, too",
        "Genotype IDHwt is left out: missing in fake.",
        "Genotype other is left out: missing in held-out real patches.",
    ):
        assert part in said


def test_patches_that_cannot_be_normalized_are_left_out_and_counted(tmp_path):
    blank = [Patch(**{**vars(p), "image": np.full((16, 16, 3), 250, np.uint8)}) for p in fake_patches("unet")]
    fake = write_store(tmp_path / "unet", blank)
    real = write_store(tmp_path / "real", real_patches())
    with pytest.raises(HistosynthError, match=r"too few patches of .* can be normalized by macenko"):
        make(real, fake, out=tmp_path / "study", settings=SMALL.model_copy(update={"normalize": "macenko"}))
    assert not list(tmp_path.glob("*study*"))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"cases": 18}, "multiple of 4, such as 16 or 20"),
        ({"cases": 80}, "12 patches of held-out real tissue, IDHmut, but 80 cases need 20 of them"),
        ({"repeats": 10}, "give --repeats at most 8"),
        ({"normalize": "none"}, "changes no colors"),
        ({"normalize": "makenko"}, "did you mean 'macenko'"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(tmp_path, real, samples, change, error):
    fake, before = samples("unet"), set(tmp_path.iterdir())
    with pytest.raises(HistosynthError, match=error):
        make(real, fake, out=tmp_path / "study", settings=SMALL.model_copy(update=change))
    assert set(tmp_path.iterdir()) - before == {tmp_path / "unet"} - before


def test_unpaired_stores_are_refused(tmp_path, real, samples):
    for name, patches, error in (
        ("wide", fake_patches("wide", mpp=0.6), "scales differ"),
        ("raw", fake_patches("raw", stain="raw"), "stains differ"),
        ("real2", real_patches(), "swap --real and --fake"),
        ("labels", fake_patches("labels", labels=("other",)), "no genotype that all have"),
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
    made = make(real, samples("unet"), out=tmp_path / "study")
    before = (made.study / "study.db").read_bytes()
    with pytest.raises(HistosynthError, match="never overwritten"):
        make(real, tmp_path / "unet", out=tmp_path / "study")
    assert (made.study / "study.db").read_bytes() == before


def test_a_failure_at_the_last_step_leaves_nothing(tmp_path, real, samples, monkeypatch):
    monkeypatch.setattr("histosynth.study.design.create.populate", lambda *_, **__: 1 / 0)
    fake = samples("unet")
    with pytest.raises(ZeroDivisionError):
        make(real, fake, out=tmp_path / "study")
    assert {path.name for path in tmp_path.iterdir()} == {"real", "unet"}


def test_another_database_holds_it_all(tmp_path, real, samples, monkeypatch):
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    fake = samples("unet")
    monkeypatch.setattr("sys.argv", ["histosynth", "--database", url, f"--database={url}"])
    made = create(real, [(None, fake)], out=tmp_path / "study", settings=SMALL, database=url, progress=False)
    assert url not in (made.study / "manifest.json").read_text()
    assert {path.name for path in made.study.iterdir()} == {"study.toml", "manifest.json"}
    assert len(Answers(open_study(made.study, database=url)).progress()) == 3
    with pytest.raises(HistosynthError, match="holds a study already"):
        create(real, [(None, fake)], out=tmp_path / "again", settings=SMALL, database=url, progress=False)
    assert not (tmp_path / "again").exists()
