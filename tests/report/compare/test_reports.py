"""Reports that were not measured alike are rejected."""

import re

import pytest

from histosynth.errors import HistosynthError
from histosynth.report.compare.build import compare

PAIR = "fake_vs_held_out"
MEASURES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]


def other_samples(facts):
    facts["stores"]["fake"] |= {"sha256": "another", "sources": ["run-3"]}


def test_models_of_one_source_are_named_by_their_reports(paths, edit, tmp_path):
    other = edit(paths[0], "again", lambda facts: facts["stores"]["fake"].update(sha256="another"))
    content = compare(reports=[paths[0], other], out=tmp_path / "both")
    assert list(content["models"]) == ["run-1 (one)", "run-1 (again)"]
    assert any("with the source run-1" in c["text"] for c in content["cautions"])


def test_other_versions_and_floors_are_noted(paths, edit, tmp_path):
    def older(facts):
        facts["provenance"]["versions"]["histosynth"] = "0.0.9"
        facts["labels"]["IDHwt"]["train_vs_held_out"]["measures"]["frechet_distance"]["value"] *= 1.1

    content = compare(reports=[paths[0], edit(paths[1], "older", older)], out=tmp_path / "both")
    texts = " | ".join(c["text"] for c in content["cautions"])
    assert "different versions of histosynth" in texts
    assert re.search(r"same real patches differs between the reports \(IDHwt: [\d.]+ to [\d.]+\)", texts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["extractor"].update(name="inception"), "extractor mean-and-contrast in .*, inception in .*--extr"),
        (lambda f: f["extractor"].update(weights_sha256="beef"), "weights sha256 none in .*, beef in .*--weights"),
        (lambda f: f["extractor"].update(preprocessing="other"), "preprocessing none in .*, other in"),
        (lambda f: f["stores"]["real"].update(sha256="beef"), "real patches differ.*beef.*evaluate both against one"),
        (lambda f: f["settings"].update(neighbors=5), "neighbors differs: 3 in .*, 5 in"),
        (lambda f: f["overall_labels"].remove("IDHwt"), "pool different labels: IDHmut, IDHwt in .*; IDHmut in"),
        (
            lambda f: f["labels"]["IDHwt"][PAIR].update(n=9),
            r"n differs.*IDHwt has 10 patches per side in .*one, 9 in .*--per-label",
        ),
        (lambda f: f.update(schema_version=1), "has schema version 1, but this histosynth reads 2; evaluate again"),
        (lambda f: f.update(kind="other"), "is not a report of histosynth"),
        (lambda f: f.pop("stores"), r"is damaged \(stores: .*\); evaluate again"),
    ],
)
def test_reports_not_measured_alike_are_rejected(paths, edit, tmp_path, change, message):
    def both(facts):
        other_samples(facts)
        change(facts)

    with pytest.raises(HistosynthError, match=message) as caught:
        compare(reports=[paths[0], edit(paths[0], "odd", both)], out=tmp_path / "both")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "both").exists()


def test_every_pair_of_reports_is_checked(paths, edit, tmp_path):
    third = edit(paths[1], "third", lambda facts: facts["stores"]["fake"].update(sources=["run-3"]))
    with pytest.raises(HistosynthError, match=r"two and .*third are of the same samples"):
        compare(reports=[*paths, third], out=tmp_path / "both")


def test_unreadable_reports(paths, tmp_path):
    with pytest.raises(HistosynthError, match="is given twice"):
        compare(reports=[*paths, paths[0] / "report.json"], out=tmp_path / "both")
    with pytest.raises(HistosynthError, match=r"nothing to compare .*one with"):
        compare(reports=paths[:1], out=tmp_path / "both")
    for nothing in ("absent", "one-samples"):
        with pytest.raises(HistosynthError, match=f"{nothing} is not a report: it has no report.json"):
            compare(reports=[paths[0], tmp_path / nothing], out=tmp_path / "both")
    (paths[1] / "report.json").write_text("{")
    with pytest.raises(HistosynthError, match=r"report\.json is damaged"):
        compare(reports=paths, out=tmp_path / "both")
