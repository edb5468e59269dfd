"""A study of real tissue against smoothed patches: file sizes no longer tell them apart."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from histosynth.config import PatchSettings, StudySettings
from histosynth.patches.extract import extract
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.png import decode_png, encode_png
from histosynth.store.store import Store, write_manifest
from histosynth.study.design.create import create
from histosynth.study.records.database import open_study
from histosynth.study.records.tables import Case, Picture

pytestmark = pytest.mark.real


PLAIN = {"random_crop": False, "jpeg_history": 0}


@pytest.mark.parametrize("options", [{}, PLAIN, {**PLAIN, "normalize": "reinhard"}])
def test_a_study_of_gliomas(shared_data: Path, tmp_path: Path, options: dict[str, object]) -> None:
    source = shared_data / "lgg_mini"
    settings = PatchSettings(held_out_patients=("TCGA-DB-5270", "TCGA-DU-5847"), region_px=256)
    inputs = {"outlines": source / "annotations", "labels": source / "labels.csv", "workers": 1, "progress": False}
    extract([source / "slides"], out=tmp_path / "store", settings=settings, **inputs)
    real = Store(tmp_path / "store")
    labels, images = real.column("label"), real.images(range(len(real)))
    (tmp_path / "samples").mkdir()
    smooth = [
        Patch(patch_id=f"model_{i}", image=gaussian_filter(image, (1, 1, 0)), source="model", label=labels[i], mpp=0.5,
              texts={"Description": "synthetic"})
        for i, image in enumerate(images)
    ]  # fmt: skip
    write_part(part_path(tmp_path / "samples", "a"), smooth, fingerprint="f")
    write_manifest(tmp_path / "samples", {"made_with": {"data_hash": real.content_hash()}, "train_split": "train"})
    study = StudySettings(cases=32, practice=4, repeats=4, **options)
    created = create(tmp_path / "store", [(None, tmp_path / "samples")], out=tmp_path / "study", settings=study,
                  progress=False)  # fmt: skip
    [warning] = [
        text for text in created.manifest["warnings"] if "from one patient" not in text and "from 2 p" not in text
    ]
    assert warning.startswith("A program can tell real from synthetic")  # a blur, which no common encoding hides
    assert created.manifest["pixel_auc"]["value"] > 0.9
    with open_study(created.study).read_session() as session:
        cases = session.query(Case, Picture.png).join(Picture, Picture.case_id == Case.case_id).all()
    assert len({len(png) for _, png in cases}) == 1
    compressed = {
        truth: [len(encode_png(decode_png(png))) for case, png in cases if case.truth == truth]
        for truth in ("real", "synthetic")
    }
    # Compressed sizes would tell them apart; otherwise the test would be trivial.
    assert np.median(compressed["real"]) > 1.1 * np.median(compressed["synthetic"])
    held_out = set(settings.held_out_patients)
    assert {case.patient_id for case, _ in cases if case.truth == "real"} == held_out
    stored = dict(zip(real.column("patch_id"), images, strict=True))
    same = [np.array_equal(decode_png(png), stored[case.patch_id]) for case, png in cases if case.truth == "real"]
    assert all(same) if options == PLAIN else not any(same)
