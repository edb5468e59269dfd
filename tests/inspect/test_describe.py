"""Every kind of file and directory is recognized and summarized, and anything else is rejected by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from histosynth.config import Settings, load_settings
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.rundir import write_json
from histosynth.store.part import Patch, part_path, write_part
from histosynth.store.store import write_manifest


def make_store(path: Path, *, synthetic: bool = False) -> Path:
    path.mkdir()
    real = {"slide_id": "s1", "patient_id": "p1", "x": 0, "y": 0, "extent": 64, "split": "train", "tissue": 1.0}
    patches = [
        Patch(
            patch_id=str(n),
            image=np.full((16, 16, 3), n, np.uint8),
            source="run" if synthetic else "real",
            label="IDHwt" if n else None,
            mpp=0.5,
            **({} if synthetic else real),
        )
        for n in range(3)
    ]
    write_part(part_path(path, "s1"), patches, fingerprint="f")
    write_manifest(path, {"synthetic": True} if synthetic else {"settings": {"cap": 3}})
    return path


def test_a_patch_store(tmp_path: Path) -> None:
    facts = describe(make_store(tmp_path / "store"))
    assert facts["kind"] == "patch store"
    assert (facts["patches"], facts["side_px"], facts["mpp"], facts["patients"]) == (3, 16, [0.5], 1)
    assert facts["labels"] == {"IDHwt": 2, "none": 1}
    assert facts["split"] == {"train": 3}
    assert facts["slides"] == {"s1": 3}
    assert facts["settings"] == {"cap": 3}
    assert describe(tmp_path / "store" / "manifest.json") == facts


def test_a_sample_store(tmp_path: Path) -> None:
    facts = describe(make_store(tmp_path / "samples", synthetic=True))
    assert facts["kind"] == "sample store"
    assert (facts["source"], facts["slides"], facts["patients"], facts["split"]) == ({"run": 3}, {}, 0, {})


RUN = {
    "kind": "run", "status": "running", "images": 0, "total_images": 128, "labels": ["a"], "image_px": 8, "mpp": None,
    "store": "store", "data_hash": "abc",
}  # fmt: skip


def test_a_run_whose_log_was_torn_by_a_kill(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", RUN | {"images": 64})
    (tmp_path / "stats.jsonl").write_text(
        '{"images": 32, "loss": 0.5, "lr": 0.1}\n{"images": 64, "loss": 0.25, "lr": 0.1}\n{"imag'
    )
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "ema-64.safetensors").touch()
    facts = describe(tmp_path)
    assert facts["kind"] == "run"
    assert (facts["status"], facts["images"], facts["total_images"]) == ("running", 64, 128)
    assert facts["last"] == {"images": 64, "loss": 0.25, "lr": 0.1}
    assert facts["weights"] == ["ema-64.safetensors"]


def test_a_run_that_has_just_started(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", RUN)
    assert (describe(tmp_path)["last"], describe(tmp_path)["weights"]) == (None, [])


def test_weights_are_described_without_their_run(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from histosynth.training.checkpoint import save_weights
    from histosynth.training.origin import Origin

    settings = load_settings("demo")
    path = tmp_path / "weights" / "ema.safetensors"
    save_weights(
        path,
        {"w": torch.zeros(2)},
        Origin(settings=settings, labels=["a", "ü"], image_px=32, mpp=None, run="r1", images=640, data_hash="h"),
    )
    facts = describe(path)
    assert facts["kind"] == "weights"
    assert (facts["images"], facts["labels"], facts["image_px"], facts["run"]) == (640, ["a", "ü"], 32, "r1")
    assert facts["settings"]["model"] == settings.model_dump(mode="json")["model"]


def test_settings_by_path_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[patches]\ncap = 7\n")
    assert describe(tmp_path / "own.toml")["patches"]["cap"] == 7
    paper = describe(Path("paper"))
    assert paper.pop("kind") == "settings"
    assert Settings.model_validate_json(json.dumps(paper)) == load_settings("paper")


def test_labels(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("slide_id,patient_id,label\na1,a,IDHwt\na2,a,IDHwt\nb1,b,IDHmut\nc1,c,\n")
    facts = describe(tmp_path / "labels.csv")
    assert facts == {
        "kind": "labels",
        "column": "label",
        "labels": {"IDHmut": 1, "IDHwt": 2},
        "patients": 2,
        "unlabeled": 1,
    }


def test_outlines_and_a_folder_of_them(tmp_path: Path) -> None:
    def square(side: int, name: str) -> dict[str, Any]:
        ring = [[0, 0], [side, 0], [side, side], [0, side], [0, 0]]
        properties = {"objectType": "annotation", "classification": {"name": name}}
        return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": [ring]}}

    features = [square(10, "Tumor"), square(20, "Tumor"), square(5, "Necrosis")]
    path = tmp_path / "s1.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert describe(path) == {
        "kind": "outlines",
        "format": "QuPath GeoJSON",
        "classes": {"Necrosis": {"areas": 1, "area_px2": 25}, "Tumor": {"areas": 2, "area_px2": 500}},
    }
    assert describe(tmp_path) == {"kind": "folder of outlines", "outlines": ["s1.geojson"]}
    Image.new("RGB", (40, 30), "white").save(tmp_path / "s1.png")
    assert describe(tmp_path) == {
        "kind": "folder of slides and outlines",
        "slides": ["s1.png"],
        "outlines": ["s1.geojson"],
    }


@pytest.mark.parametrize("name", ["a.xml", "a.annotations", "a.ndpa", "a.json"])
def test_outline_formats_are_recognized_by_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(
        '<ASAP_Annotations><Annotation Type="Dot" PartOfGroup="a"><Coordinate X="1" Y="1"/></Annotation>'
        '<Annotation Type="Rectangle" PartOfGroup="b"><Coordinate X="1" Y="1"/><Coordinate X="3" Y="4"/></Annotation>'
        "</ASAP_Annotations>"
    )
    assert describe(tmp_path / name) == {
        "kind": "outlines",
        "format": "ASAP XML",
        "classes": {"b": {"areas": 1, "area_px2": 6}},
        "left_out": {"ignored_points": 1},
    }


@pytest.mark.real
def test_real_outlines(shared_data: Path) -> None:
    formats = {path.name: describe(path)["format"] for path in (shared_data / "annotations").glob("*.[!t]*")}
    assert formats == {
        "asap-polygon.xml": "ASAP XML",
        "hamamatsu_mixed.ndpa": "Hamamatsu NDPA",
        "imagescope_TCGA-EJ-5518-01Z-00-DX1.xml": "ImageScope XML",
        "qupath-polygon.json": "QuPath GeoJSON",
        "qupath-rectangle.json": "QuPath GeoJSON",
        "qupath_example.geojson": "QuPath GeoJSON",
    }


def test_an_image_region_and_a_folder_of_them(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "white").save(tmp_path / "region.png")
    facts = describe(tmp_path / "region.png")
    assert (facts["kind"], facts["slide_id"], facts["mpp"], facts["tissue"]) == ("image", "region", None, 0.0)
    assert (facts["width_px"], facts["height_px"]) == (40, 30)
    assert describe(tmp_path) == {"kind": "folder of slides", "slides": ["region.png"]}


@pytest.mark.real
def test_real_slides(shared_data: Path) -> None:
    facts = describe(shared_data / "slides" / "CMU-1-Small-Region.svs")
    assert (facts["kind"], facts["vendor"], facts["width_px"], facts["height_px"]) == ("slide", "aperio", 2220, 2967)
    assert facts["mpp"] == pytest.approx(0.499)
    assert describe(shared_data / "slides" / "TCGA-CR-7395-01A-01-TS1.svs")["mpp"] is None


def nothing(path: Path) -> Path:
    return path / "nowhere"


def text_file(path: Path) -> Path:
    (path / "notes.txt").write_text("hello")
    return path / "notes.txt"


def torn_slide(path: Path) -> Path:
    (path / "torn.svs").write_bytes(b"II*\0torn")
    return path / "torn.svs"


def torn_weights(path: Path) -> Path:
    (path / "ema.safetensors").write_bytes(b"\xff" * 40)
    return path / "ema.safetensors"


def torn_report(path: Path) -> Path:
    (path / "report.json").write_text('{"stores": ')
    return path


def torn_manifest(path: Path) -> Path:
    (path / "manifest.json").write_text("{")
    return path


def manifest_of_another_program(path: Path) -> Path:
    (path / "manifest.json").write_text('{"short_name": "an app"}')
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "no file, directory or preset '.*nowhere'; name a slide, "),
        (lambda path: path, "holds nothing that histosynth knows; name a slide, "),
        (text_file, r"notes.txt' is of no kind that histosynth knows; name a slide, "),
        (torn_slide, r"torn.svs cannot be read"),
        (torn_weights, "ema.safetensors is not a readable safetensors file"),
        (torn_report, r"report.json is damaged"),
        (torn_manifest, r"manifest.json is damaged"),
        (manifest_of_another_program, "is a directory of another program"),
    ],
)
def test_unknown_and_damaged_files_are_rejected(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(HistosynthError, match=message):
        describe(make(tmp_path))


def test_a_mistyped_preset_is_recognized() -> None:
    with pytest.raises(HistosynthError, match=r"no file, directory or preset 'papr' \(did you mean 'paper'\?\)"):
        describe(Path("papr"))
