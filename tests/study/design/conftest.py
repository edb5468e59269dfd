"""Stores of small random patches, and studies made from them."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.config import StudySettings
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import Store, write_manifest
from histosynth.study.design.create import create

SMALL = StudySettings(cases=16, readers=3, practice=4, repeats=4, seed=5)
LABELS = ("IDHmut", "IDHwt")


def save_store(path: Path, patches: list[Patch], **manifest: object) -> Path:
    path.mkdir()
    write_part(part_path(path, "a"), patches, fingerprint="f")
    write_manifest(path, manifest)
    return path


def random_images(count: int, *, seed: int, px: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, px, px, 3), dtype=np.uint8)


def draw_real(*, per_patient: int = 4, labels=LABELS, px: int = 16, stain: str | None = "normalized") -> list[Patch]:
    """Return patches of five patients per label, two of them training patients."""
    names = [(label, patient, i) for label in labels for patient in range(5) for i in range(per_patient)]
    return [
        Patch(patch_id=f"{label}-{patient}-{i}", image=image, source="real", label=label, slide_id=f"{label}-{patient}",
              patient_id=f"{label}-{patient}", split="held_out" if patient < 3 else "train", mpp=0.5, stain=stain)
        for (label, patient, i), image in zip(names, random_images(len(names), seed=1, px=px), strict=True)
    ]  # fmt: skip


def draw_fake(source: str, *, count: int = 12, labels=LABELS, mpp: float | None = 0.5, **more: object) -> list[Patch]:
    images = random_images(count * len(labels), seed=len(source))
    return [
        Patch(patch_id=f"{source}-{i}", image=image, source=source, label=labels[i % len(labels)], mpp=mpp, **more)
        for i, image in enumerate(images)
    ]


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return save_store(tmp_path / "real", draw_real())


@pytest.fixture
def samples(tmp_path: Path, real: Path):
    def write(name: str, **options: object) -> Path:
        made_with = {"data_hash": Store(real).content_hash()}
        manifest = {"made_with": made_with, "train_split": options.pop("train_split", "train")}
        return save_store(tmp_path / name, draw_fake(name, **options), **manifest)

    return write


def query_rows(study: Path, query: str) -> list[tuple]:
    file = sqlite3.connect(study / "study.db")
    try:
        return file.execute(query).fetchall()
    finally:
        file.close()


def make_study_quietly(real: Path, *fakes: Path, out: Path, settings: StudySettings = SMALL):
    return create(real, [(None, fake) for fake in fakes], out=out, settings=settings, progress=False)


@pytest.fixture
def write_store() -> Callable[..., Any]:
    """Return `save_store`."""
    return save_store


@pytest.fixture
def real_patches() -> Callable[..., Any]:
    """Return `draw_real`."""
    return draw_real


@pytest.fixture
def fake_patches() -> Callable[..., Any]:
    """Return `draw_fake`."""
    return draw_fake


@pytest.fixture
def rows() -> Callable[..., Any]:
    """Return `query_rows`."""
    return query_rows


@pytest.fixture
def make() -> Callable[..., Any]:
    """Return `make_study_quietly`."""
    return make_study_quietly
