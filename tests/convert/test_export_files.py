"""The files of an export: the layout that their readers expect, the same bytes each time, and none after an error."""

import csv
import json
import re
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from histosynth.convert import export_formats
from histosynth.convert.export import export
from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe
from histosynth.rundir import exclusive_replacement
from histosynth.store.part import SCHEMA, Patch, part_path, write_part
from histosynth.store.store import Store

FORMATS = ("png", "npz", "webdataset")
Command = Callable[..., tuple[int, str, str]]


def image(seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def run(store: Path, out: Path, format: str, **options: Any) -> Any:
    return export(store, out=out, format=format, progress=False, **options)


def everything(directory: Path) -> dict[str, bytes]:
    return {f.relative_to(directory).as_posix(): f.read_bytes() for f in directory.rglob("*") if f.is_file()}


def test_png_folders(store: Path, tmp_path: Path) -> None:
    run(store, tmp_path / "out", "png")
    files = everything(tmp_path / "out")
    assert set(files) - {"labels.csv", "export.json"} == {
        "wt/wt_S0.svs_0_0.png",
        "codel_1/codel-1_S1.svs_1_0.png",
        "wt/wt_S2.svs_2_0.png",
        "codel_2/codel-2_S3.svs_3_0.png",
        "unlabeled/unlabeled_S4.svs_4_0.png",
        "wt/wt_S5.svs_5_0.png",
    }
    cells = Store(store).column("image")
    assert files["codel_2/codel-2_S3.svs_3_0.png"] == cells[3]["bytes"]
    # the class as guided-diffusion derives it
    classes = {name.rpartition("/")[2].split("_")[0] for name in files if name.endswith(".png")}
    assert classes == {"wt", "codel-1", "codel-2", "unlabeled"}
    rows = list(csv.DictReader((tmp_path / "out" / "labels.csv").read_text("utf-8").splitlines()))
    assert [(row["label"], row["patient_id"], row["split"]) for row in rows] == [
        (label or "", f"P{n}", ("train", "held_out")[n % 2])
        for n, label in enumerate(["wt", "codel_1", "wt", "codel_2", None, "wt"])
    ]


def test_npz_has_the_layout_of_the_adm_evaluator(store: Path, tmp_path: Path) -> None:
    run(store, tmp_path / "out", "npz")
    with np.load(tmp_path / "out" / "images.npz") as arrays:
        assert arrays.files == ["arr_0", "arr_1"]
        assert arrays["arr_0"].dtype == np.uint8
        assert (arrays["arr_0"] == Store(store).images(range(6))).all()
        assert arrays["arr_1"].dtype == np.int64
        assert arrays["arr_1"].tolist() == [2, 0, 2, 1, -1, 2]
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["labels"] == {"codel_1": 0, "codel_2": 1, "wt": 2}


def test_webdataset(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_formats, "_SHARD_PATCHES", 4)
    run(store, tmp_path / "out", "webdataset")
    samples: dict[str, dict[str, bytes]] = {}
    for name in ("shard-000000.tar", "shard-000001.tar"):
        with tarfile.open(tmp_path / "out" / name) as tar:
            for member in tar:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                # as in webdataset, the key of a name ends at the first dot
                key, suffix = re.match(r"^((?:.*/|)[^.]+)[.]([^/]*)$", member.name).groups()
                file = tar.extractfile(member)
                assert file is not None
                samples.setdefault(key, {})[suffix] = file.read()
        assert len(samples) == {"shard-000000.tar": 4, "shard-000001.tar": 6}[name]
    opened = Store(store)
    for n, sample in enumerate(samples.values()):
        assert (np.asarray(Image.open(BytesIO(sample["png"]))) == opened.images([n])[0]).all()
        assert int(sample["cls"]) == [2, 0, 2, 1, -1, 2][n]
        facts = json.loads(sample["json"])
        assert facts.pop("synthetic") is False
        assert facts == {name: opened.column(name)[n] for name in facts}
        assert facts["patch_id"] == f"S{n}.svs_{n}_0"


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_store_gives_the_same_bytes(store: Path, tmp_path: Path, format: str) -> None:
    assert run(store, tmp_path / "a", format).written
    run(store, tmp_path / "b", format)
    assert everything(tmp_path / "a") == everything(tmp_path / "b")
    again = run(store, tmp_path / "a", format)
    assert not again.written
    assert not list(tmp_path.glob(".*"))


def test_a_selection_keeps_the_label_numbers_of_the_store(store: Path, tmp_path: Path) -> None:
    result = run(store, tmp_path / "out", "npz", split="train", labels=["wt"])
    assert result.patches == 2
    with np.load(tmp_path / "out" / "images.npz") as arrays:
        assert arrays["arr_1"].tolist() == [2, 2]
        assert (arrays["arr_0"] == Store(store).images([0, 2])).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--to", "png", "--label", "codel1"],
            "has no label 'codel1' (did you mean 'codel_1'?); it has codel_1, codel_2, wt",
        ),
        (["--to", "png", "--label", "codel_1", "--split", "train"], "has no patch of split 'train' of these labels"),
        (["--to", "jpg"], "'jpg' is not one of"),
        ([], "Missing option '--to'"),
    ],
)
def test_invalid_options_are_one_line_errors(
    store: Path, tmp_path: Path, command: Command, more: list[str], message: str
) -> None:
    code, output, error = command("export", store, "--out", tmp_path / "out", *more)
    assert (code, output, error.count("\n")) == (2, "", 1)
    assert message in error
    assert not (tmp_path / "out").exists()


def test_existing_files_are_not_touched(store: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    code, _, error = command("export", store, "--out", tmp_path / "mine", "--to", "png")
    assert (code, error.count("\n")) == (2, 1)
    assert "is not empty: it holds files without export.json" in error
    assert everything(tmp_path / "mine") == {"thesis.txt": b"all of it"}
    (tmp_path / "empty").mkdir()
    assert command("export", store, "--out", tmp_path / "empty", "--to", "png")[0] == 0
    code, _, error = command("export", store, "--out", tmp_path / "empty", "--to", "npz")
    assert "an export of other patches or in another format" in error
    assert "is not a patch store" in command("export", tmp_path / "mine", "--out", tmp_path / "x", "--to", "npz")[2]


def test_a_failure_leaves_no_files(store: Path, tmp_path: Path) -> None:
    write_part(
        part_path(store, "c"), [Patch(patch_id="odd", image=image(0, 9), source="real", label="wt")], fingerprint="c"
    )
    with pytest.raises(HistosynthError, match=r"mixes patch sizes \(8, 8\) and \(9, 9\)"):
        run(store, tmp_path / "out", "npz")
    part_path(store, "c").unlink()
    damaged = Store(store).table.slice(0, 1).to_pylist()[0]
    damaged["image"]["bytes"] = damaged["image"]["bytes"][:60]
    pq.write_table(pa.Table.from_pylist([damaged], schema=SCHEMA), part_path(store, "c"))
    with pytest.raises(HistosynthError, match=r"the image of patch S0.svs_0_0 is damaged"):
        run(store, tmp_path / "out", "npz")
    data = part_path(store, "b").read_bytes()
    part_path(store, "b").write_bytes(data[: len(data) // 3])
    with pytest.raises(HistosynthError, match=r"part-b.parquet cannot be read"):
        run(store, tmp_path / "out", "png")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["store"]


def test_the_command_reports_the_export(store: Path, tmp_path: Path, command: Command) -> None:
    code, output, error = command("export", store, "--out", tmp_path / "out", "--to", "webdataset")
    assert (code, error) == (0, "")
    assert output.splitlines()[:2] == [f"6 patches (real) in {tmp_path / 'out'}", "labels   0 codel_1, 1 codel_2, 2 wt"]
    assert describe(tmp_path / "out")["kind"] == "export of a store"
    facts = json.loads(command("export", store, "--out", tmp_path / "out", "--to", "webdataset", "--json")[1])
    assert (facts["patches"], facts["written"], facts["synthetic"]) == (6, False, 0)


def test_two_exports_to_one_directory_take_turns(store: Path, tmp_path: Path) -> None:
    with exclusive_replacement(tmp_path / "out"), pytest.raises(HistosynthError, match="is being written by another"):
        run(store, tmp_path / "out", "png")
    assert run(store, tmp_path / "out", "png").written
