"""500 damaged records of an export: `info` describes it or gives one line, and `export` never replaces it."""

from pathlib import Path

from histosynth.cli.info import as_lines
from histosynth.convert.export import RECORD, export
from histosynth.inspect.describe import describe
from limits import attempt
from mutations import JsonMutations


def test_damaged_records(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(store, out=out, format="png", progress=False)
    files, refused, exported = sorted(out.rglob("*")), 0, 0
    for copy in JsonMutations((out / RECORD).read_bytes(), count=500):
        (out / RECORD).write_bytes(copy)
        refused += attempt(lambda: as_lines(describe(out))) is not None
        exported += attempt(lambda: export(store, out=out, format="png", progress=False)) is None
    assert 50 < refused < 500
    assert exported < 100, "few mutations change nothing"
    assert sorted(out.rglob("*")) == files
