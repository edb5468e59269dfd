"""The verb as a user meets it: one line for every mistake, and nothing half-written, whatever ends it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.cli import main
from histosynth.patches.store import Store

SMALL = [
    "--mpp",
    "0.5",
    "--set",
    "patches.region_px=32",
    "--set",
    "patches.region_mpp=0.5",
    "--set",
    "patches.patch_px=16",
]
Verb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Calls the command line in this process: exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["histosynth", "patches", *map(str, arguments)])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return call


def command(cohort: Any, out: Path, *more: str) -> list[str]:
    given = [cohort.slides, "--outlines", cohort.outlines, "--labels", cohort.labels, "--out", out]
    return [*map(str, given), *SMALL, "--workers", "1", *more]


def lines(error: str) -> list[str]:
    """What stays on the terminal; a bar overwrites itself."""
    return [line for line in error.splitlines() if line.strip() and not line.startswith(("cutting:", "checking:"))]


def missing_slide(cohort: Any) -> list[str]:
    return [str(cohort.slides / "absent.png")]


def empty_folder(cohort: Any) -> list[str]:
    (cohort.root / "empty").mkdir()
    return [str(cohort.root / "empty")]


def corrupt_slide(cohort: Any) -> None:
    (cohort.slides / "S1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def truncated_slide(cohort: Any) -> None:
    path = cohort.slides / "S1.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_outlines_at_all(cohort: Any) -> None:
    for path in cohort.outlines.iterdir():
        path.unlink()


def no_outline_folder(cohort: Any) -> None:
    no_outlines_at_all(cohort)
    cohort.outlines.rmdir()


def other_class(cohort: Any) -> None:
    cohort.outline("S1", [[20, 20], [220, 20], [220, 220]], name="Necrosis")


def outline_elsewhere(cohort: Any) -> None:
    cohort.outline("S1", [[5000, 7000], [6000, 7000], [6000, 8000]])


def broken_outline(cohort: Any) -> None:
    (cohort.outlines / "S1.geojson").write_text('{"type": "FeatureColl')


def two_genotypes(cohort: Any) -> None:
    cohort.labels.write_text(cohort.labels.read_text() + "S7,P0,wt\n")


def labels_of_others(cohort: Any) -> None:
    cohort.labels.write_text("slide_id,label\nX,wt\n")


def no_label_column(cohort: Any) -> None:
    cohort.labels.write_text("slide_id,age\nS0,40\n")


def no_tissue(cohort: Any) -> None:
    for n in range(2):
        cohort.add(f"S{n}", np.full((256, 256, 3), 245, np.uint8))


def nothing(cohort: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "more", "message"),
    [
        (missing_slide, [], "no slide or folder"),
        (empty_folder, [], "no slide in the folder"),
        (corrupt_slide, [], "S1.png cannot be read"),
        (truncated_slide, [], "S1.png cannot be read"),
        (no_outlines_at_all, [], "no slide is left to cut (2 of 2: no outline file"),
        (no_outline_folder, [], "no folder of outlines"),
        (other_class, [], "have no class 'Tumor' but 'Necrosis' (1)"),
        (
            outline_elsewhere,
            [],
            "lies outside slide S1: it spans x 5000 to 6000, y 7000 to 8000, the slide 256 x 256 px",
        ),
        (broken_outline, [], "not valid JSON"),
        (two_genotypes, [], "patient P0 is 'codel' in line 2 and 'wt' in line 4"),
        (labels_of_others, [], "no slide is left to cut (2 of 2: no label in labels.csv"),
        (no_label_column, [], "no label column among slide_id, age"),
        (no_tissue, [], "no region became a patch on 2 slide(s)"),
        (nothing, ["--set", "patches.region_px=600"], "S0 is 256 x 256 px, smaller than one region of 600 x 600 px"),
        (nothing, ["--set", "patches.patch_px=64"], "only 32 px a side, fewer than a patch of 64 px"),
        (nothing, ["--set", "patches.capp=5"], "unknown setting 'patches.capp' (did you mean 'cap'?)"),
        (nothing, ["--mpp", "900"], "out of range"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_no_store(
    draw_cohort: Any, tmp_path: Path, verb: Verb, spoil: Any, more: list[str], message: str
) -> None:
    cohort, out = draw_cohort(2), tmp_path / "store"
    arguments = command(cohort, out, *more)
    if other := spoil(cohort):
        arguments[:1] = other
    code, output, error = verb(*arguments)
    assert code == 2
    assert len(lines(error)) == 1, error
    assert lines(error)[0].startswith("histosynth: error: ")
    assert message in error
    assert output == ""
    assert not out.exists() or not (out / "manifest.json").exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_success_says_what_was_left_out_and_what_to_do_next(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, out = draw_cohort(3), tmp_path / "store"
    (cohort.outlines / "S2.geojson").unlink()
    code, output, error = verb(*command(cohort, out))
    assert code == 0
    assert output.splitlines()[-1] == f"next: histosynth train {out} --out RUN"
    assert "S2: no outline file" in error
    code, output, error = verb(*command(cohort, out), "--json")
    told = json.loads(output)
    assert (told["slides_resumed"], told["slides_skipped"]) == (2, {"S2": "no outline file"})
    assert told["patches"] == len(Store(out))


def test_a_preview_is_named(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, out = draw_cohort(2), tmp_path / "store"
    page = out / "preview" / "index.html"
    code, output, _ = verb(*command(cohort, out, "--preview"))
    assert code == 0
    assert output.splitlines()[-2] == f"preview: {page}"
    assert page.is_file()
    assert json.loads(verb(*command(cohort, out, "--preview", "--json"))[1])["preview"] == str(page)
    assert json.loads(verb(*command(cohort, out, "--json"))[1])["preview"] is None


def start(cohort: Any, out: Path, *, workers: int) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-m", "histosynth", "patches", *command(cohort, out, "--workers", str(workers))]
    return subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_a_part(process: "subprocess.Popen[bytes]", out: Path) -> None:
    until = time.monotonic() + 60
    while not list(out.glob("part-*.parquet")):
        assert process.poll() is None, "it ended before it could be stopped"
        assert time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_and_the_same_command_give_the_same_bytes(
    draw_cohort: Any, tmp_path: Path, verb: Verb, content: Callable[[Path], dict[str, bytes]], workers: int
) -> None:
    cohort, out = draw_cohort(8, side=512), tmp_path / "store"
    process = start(cohort, out, workers=workers)
    wait_for_a_part(process, out)
    if workers == 1:
        os.killpg(process.pid, signal.SIGKILL)
    else:  # the parent alone: its workers must not go on beside the next command
        process.kill()
    process.communicate()
    finished = len(list(out.glob("part-*.parquet")))
    assert 1 <= finished < 8
    assert not (out / "manifest.json").exists()
    assert verb(*command(cohort, out))[0] == 0
    assert verb(*command(cohort, tmp_path / "whole"))[0] == 0
    assert content(out) == content(tmp_path / "whole")


def test_an_interrupt_stops_cleanly(draw_cohort: Any, tmp_path: Path) -> None:
    cohort, out = draw_cohort(8, side=512), tmp_path / "store"
    process = start(cohort, out, workers=2)
    wait_for_a_part(process, out)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: everyone in the group hears it
    error = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130
    assert lines(error) == ["histosynth: stopped; the same command goes on where this one left off"]
    assert not list(out.glob(".*"))
    assert not (out / "manifest.json").exists()


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    draw_cohort: Any, tmp_path: Path, verb: Verb, content: Callable[[Path], dict[str, bytes]]
) -> None:
    cohort, out = draw_cohort(3), tmp_path / "store"
    assert verb(*command(cohort, tmp_path / "whole"))[0] == 0
    limit = (tmp_path / "whole" / "part-S1.parquet").stat().st_size - 1
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from histosynth.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "patches", *command(cohort, out)], capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert len(lines(ended.stderr)) == 1
    assert "File too large" in ended.stderr
    assert not list(out.glob(".*"))
    assert not (out / "manifest.json").exists()
    assert verb(*command(cohort, out))[0] == 0
    assert content(out) == content(tmp_path / "whole")
