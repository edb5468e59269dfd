"""A store returns exactly what was written, or gives a one-line error."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from histosynth.errors import HistosynthError
from histosynth.store.part import (
    SCHEMA,
    Patch,
    part_fingerprint,
    part_path,
    part_record,
    write_part,
)
from histosynth.store.png import encode_png, synthetic_mark
from histosynth.store.store import Store, write_manifest

# Repeated from the documentation: to change a column is to change the file format.
COLUMNS = {
    "patch_id": "string",
    "slide_id": "string",
    "patient_id": "string",
    "label": "string",
    "x": "int32",
    "y": "int32",
    "extent": "int32",
    "mpp": "float",
    "tissue": "float",
    "split": "string",
    "stain": "string",
    "source": "string",
    "image": "struct<bytes: binary, path: string>",
}


def patch(number: int, *, side_px: int = 8, **changes: Any) -> Patch:
    """Return a patch that is determined by its number."""
    facts: dict[str, Any] = {
        "patch_id": f"s_{number}_0",
        "image": np.random.default_rng(number).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8),
        "source": "real",
        "label": "ab"[number % 2],
        "slide_id": "s",
        "patient_id": "p",
        "x": number,
        "y": 0,
        "extent": 512,
        "mpp": 0.25,
        "tissue": 0.5,
        "split": "held_out" if number % 3 == 0 else "train",
    }
    return Patch(**facts | changes)


def write(directory: Path, parts: dict[str, list[Patch]]) -> Path:
    directory.mkdir()
    for name, patches in parts.items():
        write_part(part_path(directory, name), patches, fingerprint="f")
    write_manifest(directory, {})
    return directory


def test_all_columns_read_back(tmp_path: Path) -> None:
    patches = [patch(0), patch(1, label=None, mpp=None), patch(2)]
    store = Store(write(tmp_path / "store", {"s": patches}))
    assert len(store) == 3
    assert store.patch_px == 8
    assert store.labels == ["a"]
    for name in set(COLUMNS) - {"image"}:
        assert store.column(name) == [getattr(p, name) for p in patches], name
    assert (store.images([2, 0]) == np.stack([patches[2].image, patches[0].image])).all()


def test_the_file_has_the_columns_of_the_format(tmp_path: Path) -> None:
    """Read by pyarrow alone; the image column has the layout that `datasets` shows as an image."""
    directory = write(tmp_path / "store", {"s": [patch(0)]})
    table = pq.read_table(directory / "part-s.parquet")
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert {field.name for field in table.schema if not field.nullable} == {"patch_id", "source"}
    cell = table["image"][0].as_py()
    assert cell["path"] == "s_0_0.png"
    assert (np.asarray(Image.open(BytesIO(cell["bytes"]))) == patch(0).image).all()


def test_synthetic_patches_have_no_position(tmp_path: Path) -> None:
    made = Patch(patch_id="run_1", image=patch(0).image, source="run", label="a")
    store = Store(write(tmp_path / "samples", {"0": [made]}))
    for name in ("slide_id", "patient_id", "x", "y", "extent", "split", "tissue", "mpp"):
        assert store.column(name) == [None]


def test_the_same_patches_give_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", {"s": [patch(0), patch(1)]})
    two = write(tmp_path / "two", {"s": [patch(0), patch(1)]})
    assert part_path(one, "s").read_bytes() == part_path(two, "s").read_bytes()


def test_select_by_split_and_label(tmp_path: Path) -> None:
    patches = [patch(n) for n in range(12)]
    store = Store(write(tmp_path / "store", {"s": patches}))
    for split in ("train", "held_out", None):
        for label in ("a", "b", "c", None):
            wanted = [n for n, p in enumerate(patches) if split in (p.split, None) and label in (p.label, None)]
            assert store.select(split=split, label=label).tolist() == wanted


def test_parts_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "store", {"b": [patch(1)], "a": [patch(0)], "c": []}))
    assert store.column("patch_id") == ["s_0_0", "s_1_0"]


def test_the_hash_depends_on_content_not_on_files(tmp_path: Path) -> None:
    whole = Store(write(tmp_path / "whole", {"s": [patch(0), patch(1)]})).content_hash()
    assert whole == Store(write(tmp_path / "split", {"1": [patch(0)], "2": [patch(1)]})).content_hash()
    other = patch(1).image.copy()
    other[3, 3, 1] ^= 1
    for number, changes in enumerate([{"image": other}, {"label": "c"}, {"split": "x"}, {"source": "run"}]):
        changed = write(tmp_path / f"changed{number}", {"s": [patch(0), patch(1, **changes)]})
        assert whole != Store(changed).content_hash(), changes


def test_the_hash_reads_no_image_whose_hash_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But it reads every image of a part that another program rewrote with the stored hash, in pixels or in order."""
    patches = [patch(n) for n in range(5)]
    directory = write(tmp_path / "store", {"a": patches[:2], "b": patches[2:]})
    stored = Store(directory).content_hash()
    path = part_path(directory, "b")
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=1)
    assert Store(directory).content_hash() == stored, "the same rows, hashed again"
    pixels = patches[2].image.copy()
    pixels[0, 0, 0] ^= 1
    cells = table["image"].to_pylist()
    cells[0] = {"bytes": encode_png(pixels), "path": cells[0]["path"]}
    column = pa.array(cells, SCHEMA.field("image").type)
    pq.write_table(table.set_column(table.schema.get_field_index("image"), SCHEMA.field("image"), column), path)
    assert Store(directory).content_hash() != stored
    pq.write_table(table.take([1, 0, 2]), path)
    assert Store(directory).content_hash() != stored
    write_part(path, patches[2:], fingerprint="f")
    monkeypatch.setattr("histosynth.store.part_files.PartFiles.map_images", None)
    assert Store(directory).content_hash() == stored


def test_row_groups_may_have_any_length(tmp_path: Path) -> None:
    patches = [patch(n) for n in range(9)]
    directory = write(tmp_path / "store", {"a": patches})
    table = pq.read_table(part_path(directory, "a"))
    with pq.ParquetWriter(part_path(directory, "a"), table.schema) as writer:
        for start, end in [(0, 3), (3, 4), (4, 9)]:
            writer.write_table(table.slice(start, end - start))
    rows = [8, 3, 0, 4, 2]
    assert (Store(directory).images(rows) == np.stack([patches[row].image for row in rows])).all()
    assert (np.concatenate(list(Store(directory).stream_images())) == np.stack([p.image for p in patches])).all()


def test_fingerprint_and_record_are_stored_in_the_part(tmp_path: Path) -> None:
    path = part_path(tmp_path, "s")
    assert part_fingerprint(path) is None
    assert part_record(path) == {}
    write_part(path, [patch(0)], fingerprint="abc", record={"patches": 1, "stain": "macenko µ"})
    assert part_fingerprint(path) == "abc"
    assert part_record(path) == {"patches": 1, "stain": "macenko µ"}
    path.write_bytes(path.read_bytes()[:-20])
    assert part_fingerprint(path) is None


def test_a_directory_without_a_manifest_is_not_a_store(tmp_path: Path) -> None:
    write_part(part_path(tmp_path, "s"), [patch(0)], fingerprint="f")
    with pytest.raises(HistosynthError, match=r"is not a patch store: it has no manifest\.json"):
        Store(tmp_path)


@pytest.mark.parametrize("parts", [{}, {"s": []}])
def test_an_empty_store_refers_to_its_manifest(tmp_path: Path, parts: dict[str, list[Patch]]) -> None:
    with pytest.raises(HistosynthError, match=r"holds no patch; its manifest\.json gives the reason"):
        Store(write(tmp_path / "store", parts))


def test_a_flipped_bit_is_an_error_or_has_no_effect(tmp_path: Path) -> None:
    """Damage in a part is an error, changes nothing, or at worst loses a column; no pixel is ever wrong."""
    patches = [patch(n) for n in range(4)]
    directory = write(tmp_path / "store", {"s": patches})
    whole = part_path(directory, "s").read_bytes()
    truth = np.stack([p.image for p in patches])
    errors = 0
    for at in range(0, len(whole), 17):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        part_path(directory, "s").write_bytes(damaged)
        try:
            store = Store(directory)
            images = store.images(range(len(store)))
            columns = {name: store.column(name) for name in set(COLUMNS) - {"image"}}
        except HistosynthError:
            errors += 1
            continue
        assert (images == truth).all()
        for name, column in columns.items():
            pairs = zip(column, patches, strict=True)
            assert all(value in (getattr(p, name), None) for value, p in pairs), (at, name)
    assert errors > 100


@pytest.mark.parametrize("kept", [0, 3, 0.5, -1])
def test_the_error_on_a_truncated_part_names_it(tmp_path: Path, kept: float) -> None:
    directory = write(tmp_path / "store", {"a": [patch(0)], "s": [patch(1)]})
    path = part_path(directory, "s")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(HistosynthError, match=r"part-s\.parquet cannot be read .* rerun the command"):
        Store(directory)


def test_a_part_of_another_program_is_an_error(tmp_path: Path) -> None:
    directory = write(tmp_path / "store", {})
    pq.write_table(pa.table({"image": [1, 2]}), part_path(directory, "s"))
    with pytest.raises(HistosynthError, match=r"part-s\.parquet cannot be read"):
        Store(directory)


@pytest.mark.parametrize("content", [b"no image", b"", None, encode_png(patch(0).image)[:-40]])
def test_a_damaged_image_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    directory = write(tmp_path / "store", {})
    row = {field.name: getattr(patch(0), field.name) for field in SCHEMA} | {"image": {"bytes": content, "path": "x"}}
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), part_path(directory, "s"))
    with pytest.raises(HistosynthError, match="holds a damaged image"):
        Store(directory).images([0])


def test_mixed_sizes_are_an_error(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "store", {"s": [patch(0), patch(1, side_px=16)]}))
    for rows in ([1], [0, 1]):
        with pytest.raises(HistosynthError, match=r"mixes patch sizes, 8 x 8 and 16 x 16 px; make one store per size"):
            store.images(rows)


def test_one_patch_reads_back(tmp_path: Path) -> None:
    made = Patch(patch_id="run_1", image=patch(0).image, source="run", texts=synthetic_mark("run"))
    written = [patch(0), patch(1, label=None, mpp=None), made, patch(3)]
    store = Store(write(tmp_path / "store", {"a": written[:1], "b": [], "c": written[1:]}))
    for row, truth in enumerate(written):
        read = store.patch(row)
        assert (read.image == truth.image).all()
        assert replace(read, image=truth.image) == truth


def test_one_patch_reads_one_row_group(tmp_path: Path) -> None:
    """Two of three row groups are damaged, which page checksums reveal whenever they are read."""
    patches = [patch(n) for n in range(9)]
    directory = write(tmp_path / "store", {"a": patches})
    path = part_path(directory, "a")
    pq.write_table(pq.read_table(path), path, row_group_size=3, write_page_checksum=True)
    damaged = bytearray(path.read_bytes())
    for number in (0, 2):
        group = pq.read_metadata(path).row_group(number)
        for column in (group.column(i) for i in range(group.num_columns)):
            damaged[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(damaged)
    store = Store(directory)
    assert (store.patch(4).image == patches[4].image).all()
    for row in (0, 8):
        with pytest.raises(HistosynthError, match="cannot be read"):
            store.patch(row)


def test_a_store_states_its_generators(tmp_path: Path) -> None:
    assert Store(write(tmp_path / "real", {"s": [patch(0)]})).mark == {}
    store = Store(write(tmp_path / "fake", {"s": [patch(0, source="b"), patch(1, source="a")]}))
    assert store.generators == ["a", "b"]
    assert store.mark == synthetic_mark("a, b")
