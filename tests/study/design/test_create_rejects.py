"""What keeps a study from being made, or weakens it: errors that leave nothing behind, and warnings."""

import threading

import numpy as np
import pytest

from histosynth.config import StudySettings
from histosynth.errors import HistosynthError
from histosynth.store.part import Patch
from histosynth.study.records.answers import Answers
from histosynth.study.records.database import open_study

SMALL = StudySettings(cases=16, readers=3, practice=4, repeats=4, seed=5)


def test_of_two_commands_for_one_study_only_one_creates_it(tmp_path, real, samples, make):
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


def test_weaknesses_are_reported_as_warnings(tmp_path, real, write_store, fake_patches, make):
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


def test_too_few_normalizable_patches_leave_nothing_behind(tmp_path, write_store, real_patches, fake_patches, make):
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
def test_invalid_settings_leave_nothing_behind(tmp_path, real, samples, change, error, make):
    fake, before = samples("unet"), set(tmp_path.iterdir())
    with pytest.raises(HistosynthError, match=error):
        make(real, fake, out=tmp_path / "study", settings=SMALL.model_copy(update=change))
    assert set(tmp_path.iterdir()) - before == {tmp_path / "unet"} - before


def test_stores_that_do_not_match_are_rejected(tmp_path, real, samples, write_store, real_patches, fake_patches, make):
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


def test_a_study_is_never_overwritten(tmp_path, real, samples, make):
    created = make(real, samples("unet"), out=tmp_path / "study")
    before = (created.study / "study.db").read_bytes()
    with pytest.raises(HistosynthError, match="never overwritten"):
        make(real, tmp_path / "unet", out=tmp_path / "study")
    assert (created.study / "study.db").read_bytes() == before


def test_a_failure_at_the_last_step_leaves_nothing_behind(tmp_path, real, samples, monkeypatch, make):
    monkeypatch.setattr("histosynth.study.design.create.populate", lambda *_, **__: 1 / 0)
    fake = samples("unet")
    with pytest.raises(ZeroDivisionError):
        make(real, fake, out=tmp_path / "study")
    assert {path.name for path in tmp_path.iterdir()} == {"real", "unet"}
