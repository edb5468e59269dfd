"""What `histosynth patches` reports on the command line: one-line errors, the summary, and options in the manifest."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from histosynth.store.store import Store

SMALL = ["--mpp", "0.5", "--set", "patches.region_px=32", "--set", "patches.region_mpp=0.5",
         "--set", "patches.patch_px=16"]  # fmt: skip


Verb = Callable[..., tuple[int, str, str]]


def command(cohort: Any, out: Path, *more: str) -> list[str]:
    given = [cohort.slides, "--outlines", cohort.outlines, "--labels", cohort.labels, "--out", out]
    return [*map(str, given), *SMALL, "--workers", "1", *more]


def lines(error: str) -> list[str]:
    """Return the lines that remain on the terminal; a progress bar overwrites itself."""
    return [line for line in error.splitlines() if line.strip() and not line.startswith(("extracting:", "checking:"))]


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


def outline_with_a_doctype(cohort: Any) -> None:
    (cohort.outlines / "S1.geojson").unlink()
    (cohort.outlines / "S1.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><Annotations/>')


def ndpa_of_another_slide(cohort: Any) -> None:
    (cohort.outlines / "S1.geojson").unlink()
    points = "".join(f"<point><x>{x}</x><y>{y}</y></point>" for x, y in [(0, 0), (90_000, 0), (0, 90_000)])
    (cohort.outlines / "S1.png.ndpa").write_text(
        '<annotations><ndpviewstate><title>Tumor</title><annotation type="freehand"><closed>1</closed>'
        f"<pointlist>{points}</pointlist></annotation></ndpviewstate></annotations>"
    )


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
        (no_outlines_at_all, [], "no usable slide is left (2 of 2: no outline file"),
        (no_outline_folder, [], "no folder of outlines"),
        (other_class, [], "have no class 'Tumor', only 'Necrosis' (1)"),
        (
            outline_elsewhere,
            [],
            "lies outside slide S1: it spans x 5000 to 6000, y 7000 to 8000, the slide 256 x 256 px",
        ),
        (broken_outline, [], "not valid JSON"),
        (outline_with_a_doctype, [], "S1.xml declare a document type"),
        (ndpa_of_another_slide, [], "slide S1 states no hamamatsu.XOffsetFromSlideCentre"),
        (
            nothing,
            ["--tumor-class", "Cancer"],
            "have no class 'Cancer', only 'Tumor' (1); choose one with --tumor-class",
        ),
        (
            nothing,
            ["--exclude-class", "tumor"],
            "class 'tumor' is both a tumor class and an excluded class; remove one of the two",
        ),
        (two_genotypes, [], "patient P0 is 'codel' in line 2 and 'wt' in line 4"),
        (labels_of_others, [], "no usable slide is left (2 of 2: no label in labels.csv"),
        (no_label_column, [], "no label column among slide_id, age"),
        (no_tissue, [], "no region became a patch on 2 slide(s)"),
        (nothing, ["--set", "patches.region_px=600"], "S0 is 256 x 256 px, smaller than one region of 600 x 600 px"),
        (nothing, ["--set", "patches.patch_px=64"], "only 32 px per side, fewer than a patch of 64 px"),
        (nothing, ["--set", "patches.capp=5"], "unknown setting 'patches.capp' (did you mean 'cap'?)"),
        (nothing, ["--mpp", "900"], "out of range"),
        (nothing, ["--set", "patches.fold=1"], "patches.fold = 1 needs patches.folds"),
        (nothing, ["--set", "patches.folds=9", "--set", "patches.fold=8"], "fold 8 of 9 holds out no patient"),
        (nothing, ["--split-table", "absent.csv"], "split table absent.csv cannot be read: No such file"),
    ],
)
def test_invalid_input_is_reported_in_one_line_and_leaves_no_store(
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


def test_summary_names_skipped_slides_and_the_next_command(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, out = draw_cohort(3), tmp_path / "store"
    (cohort.outlines / "S2.geojson").unlink()
    code, output, error = verb(*command(cohort, out))
    assert code == 0
    assert output.splitlines()[-1] == f"next: histosynth train {out} --out RUN"
    assert "S2: no outline file" in error
    code, output, error = verb(*command(cohort, out), "--json")
    summary = json.loads(output)
    assert (summary["slides_resumed"], summary["slides_skipped"]) == (2, {"S2": "no outline file"})
    assert summary["patches"] == len(Store(out))


def test_summary_names_the_preview(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, out = draw_cohort(2), tmp_path / "store"
    page = out / "preview" / "index.html"
    code, output, _ = verb(*command(cohort, out, "--preview"))
    assert code == 0
    assert output.splitlines()[-2] == f"preview: {page}"
    assert page.is_file()
    assert json.loads(verb(*command(cohort, out, "--preview", "--json"))[1])["preview"] == str(page)
    assert json.loads(verb(*command(cohort, out, "--json"))[1])["preview"] is None


def test_progress_bar_shows_slides_patches_and_time(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    error = verb(*command(draw_cohort(3), tmp_path / "store"), "--set", "patches.cap=7")[2]
    bars = [bar.strip() for bar in error.replace("\r", "\n").splitlines() if bar.startswith("extracting:")]
    assert re.fullmatch(r"extracting: 100%\|.*\| 3/3 slides \[00:\d\d<00:00, 21 patches, [\d.e+]+/s\]", bars[-1])


def test_summary_reports_mismatches_of_the_tables(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, out, split = draw_cohort(3), tmp_path / "store", tmp_path / "split.csv"
    cohort.labels.write_text("slide_id,label\nS0,IDHWT\nS1,IDH-mutant & 1p/19q codeleted\ns2,IDHwt\nS8,IDHNC\n")
    split.write_text("slide_id,split\nS0,train\nS1,test\nS5,test\n")
    code, output, error = verb(*command(cohort, out), "--split-table", split)
    assert code == 0
    assert "S2: no label in labels.csv, but it has 's2'" in error
    assert "2 label(s) without a slide: S8, s2 (" in error
    assert "1 name(s) in the split table without a slide: S5" in error
    assert (
        "labels renamed: IDH-mutant & 1p/19q codeleted to IDHmut-codel, IDHNC to IDHmut-non-codel, IDHWT to IDHwt"
        in error
    )
    assert output.splitlines()[1].split() == ["IDHmut-codel", "0", "36"]
    table = json.loads((out / "manifest.json").read_text())["labels_table"]
    assert table["slides_without_label"] == {"S2": "it has 's2'"}
    assert table["genotype_aliases"]["IDHWT"] == "IDHwt"


def test_folds_are_recorded_and_reuse_unaffected_parts(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort, held_out = draw_cohort(6), []
    for fold in range(3):
        given = ["--set", "patches.folds=3", "--set", f"patches.fold={fold}"]
        assert verb(*command(cohort, tmp_path / str(fold), *given))[0] == 0
        manifest = json.loads((tmp_path / str(fold) / "manifest.json").read_text())
        assert manifest["split"] == {"by": f"hash of the patient within each label: fold {fold} of 3, counted from 0"}
        held_out += manifest["patients"]["held_out"]
        assert {split["held_out"] for split in manifest["labels"].values()} == {36}  # one patient of each label
    assert sorted(held_out) == [f"P{n}" for n in range(6)]
    # A part depends only on its own split: another fold keeps the patients that train in both.
    code, output, _ = verb(*command(cohort, tmp_path / "2", "--set", "patches.folds=3", "--json"))
    assert code == 0
    assert (json.loads(output)["slides_resumed"], json.loads(output)["slides_remade"]) == (2, 4)


def test_outline_classes_are_options(draw_cohort: Any, tmp_path: Path, verb: Verb) -> None:
    cohort = draw_cohort(1)
    (cohort.outlines / "S0.geojson").unlink()
    areas = [("IDHwt", 20, 130), ("Infiltration", 130, 236), ("Necrosis", 60, 100), ("Normal", 140, 180)]
    layers = [
        f'<Annotation Name="{name}"><Regions><Region Type="1"><Vertices>'
        f'<Vertex X="{low}" Y="20"/><Vertex X="{high}" Y="236"/></Vertices></Region></Regions></Annotation>'
        for name, low, high in areas
    ]
    (cohort.outlines / "S0.png.xml").write_text(f"<Annotations>{''.join(layers)}</Annotations>")
    options = ["--tumor-class", "idhwt", "--tumor-class", "INFILTRATION", "--exclude-class", "necrosis"]
    code, _, error = verb(*command(cohort, tmp_path / "store", *options, "--outline-origin", "slide"))
    assert code == 0, error
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["outlines"] == "class idhwt, INFILTRATION without necrosis"
    assert manifest["settings"]["tumor_classes"] == ["idhwt", "INFILTRATION"]
    assert manifest["settings"]["outline_origin"] == "slide"
    outlines = manifest["slides"][0]["outlines"]
    assert (outlines["format"], outlines["polygons"], outlines["excluded"], outlines["other_classes"]) == (
        "ImageScope XML",
        2,
        1,
        1,
    )
    assert outlines["tumor_mm2"] == round((216 - 40) * 216 * 0.0005**2, 4)
    necrotic = [max(0, min(x + 32, 100) - max(x, 60)) / 32 for x in Store(tmp_path / "store").column("x")]
    assert len(necrotic) > 3
    assert max(necrotic) <= 0.1  # a tenth of a region may lie outside the tumor
