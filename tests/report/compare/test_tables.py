"""The tables of a comparison show the results of the reports."""

import re
from dataclasses import replace

from histosynth.report.compare.build import compare
from histosynth.report.wording import format_value

PAIR = "fake_vs_held_out"
MEASURES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_the_tables_show_these_results(models, paths, tmp_path):
    compare(reports=paths, out=tmp_path / "both")
    text = (tmp_path / "both" / "compare.md").read_text()
    tables = [[cells(line) for line in re.findall(r"^\|.*\|$", part, re.M)] for part in text.split("Table ")[1:]]
    assert len(tables) == 3
    assert tables[0][0] == ["model", "n", "Fréchet distance ↓"], "not FID, for the features are not Inception's"
    assert tables[1][0] == ["model", "n", "precision ↑", "recall ↑"]
    one, two = (facts["overall"][PAIR] for _, facts in models.values())
    shown = {row[0]: row[1:] for table in tables[:2] for row in table[2:]}
    for name, cell in (
        ("run-1", one),
        ("run-2", two),
        ("real training patches", models["one"][1]["overall"]["train_vs_held_out"]),
    ):
        assert shown[name][0] == "24"
        for at, measure in ((1, "precision"), (2, "recall")):
            expected = cell["measures"][measure]
            low, high = (format_value(expected[end], measure) for end in ("low", "high"))
            plain = shown[name][at].replace("**", "").replace("†", "")
            assert plain == f"{expected['value']:.2f} [{low} to {high}]"
    by_label = {(row[0], row[1]): row for row in tables[2][2:]}
    assert list(by_label) == [
        (label, name)
        for label in ("Overall", "IDHmut", "IDHwt")
        for name in ("run-1", "run-2", "real training patches")
    ]
    for label in ("IDHmut", "IDHwt"):
        cell = models["two"][1]["labels"][label][PAIR]
        assert by_label[label, "run-2"][2] == str(cell["n"])
        assert by_label[label, "run-2"][3].startswith(
            format_value(cell["measures"]["frechet_distance"]["value"], "frechet_distance")
        )


def test_inception_features_give_the_columns_of_the_paper(paths, edit, tmp_path):
    def inception(facts):
        facts["extractor"]["name"] = "inception"
        for cell in facts["overall"].values():
            cell["measures"]["spatial_frechet_distance"] = cell["measures"]["frechet_distance"] | {"value": 77.7}
        facts["inception_score"] = {
            side: {"mean": mean, "deviation": 0.1, "splits": 2} for side, mean in (("fake", 3.25), ("train", 4.5))
        }

    def worse(facts):
        inception(facts)
        facts["inception_score"]["fake"]["mean"] = 2.0

    reports = [edit(paths[0], "a", inception), edit(paths[1], "b", worse)]
    compare(reports=reports, out=tmp_path / "both")
    text = (tmp_path / "both" / "compare.md").read_text()
    lines = [cells(line) for line in re.findall(r"^\|.*\|$", text, re.M)]
    assert lines[0] == ["model", "n", "IS ↑", "FID ↓", "sFID ↓"]
    assert [line[2] for line in lines[2:5]] == ["**3.25** [± 0.10]", "2.00 [± 0.10]", "4.50 [± 0.10]"]
    assert [line[4].replace("**", "").split(" [")[0] for line in lines[2:4]] == ["77.7", "77.7"]


def test_no_held_out_patients(make, real_rows, fake_rows, report, tmp_path):
    real = make("train-only", [p for p in real_rows if p.split == "train"])
    for name in ("x", "y"):
        report(real, make(f"samples-{name}", [replace(p, source=name) for p in fake_rows]), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert content["reference"] == "train"
    assert content["overall"]["floor"] is None
    text = (tmp_path / "both" / "compare.md").read_text()
    assert "Synthetic to training patients" in text
    assert "real training patches" not in text


def test_no_overall_result(make, patches, report, tmp_path):
    """One label has no training patients, the other no held-out patches: no label can be pooled."""
    real = make("odd", [*patches(9, "IDHmut", split="held_out"), *patches(9, "IDHwt", split="train", seed=1)])
    for seed, name in enumerate(("x", "y"), start=2):
        rows = [p for label in ("IDHmut", "IDHwt") for p in patches(9, label, source=name, seed=seed)]
        report(real, make(f"samples-{name}", rows), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert "No label has enough patches on every side" in content["verdict"][0]
    text = (tmp_path / "both" / "compare.md").read_text()
    assert text.startswith("Table 1. All measures")
    lines = {(row[0], row[1]): row[2:] for row in map(cells, re.findall(r"^\|.*\|$", text, re.M)[2:])}
    assert lines["IDHwt", "x"][:2] == ["–", "none"]
    shown = content["labels"]["IDHwt"]["models"]["x"]["fake_vs_train"]["measures"]["frechet_distance"]["value"]
    assert lines["IDHwt", "x"][-1].startswith(f"{format_value(shown, 'frechet_distance')} [")
