"""Models are called better only if their intervals distinguish them."""

import re
from dataclasses import replace

import pytest

from histosynth.metrics.uncertainty import Interval
from histosynth.report.compare.build import compare
from histosynth.report.compare.ranking import best_of
from histosynth.report.wording import format_value

PAIR = "fake_vs_held_out"
MEASURES = ["frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"]


@pytest.mark.parametrize(
    ("measure", "intervals", "models", "distinguishable"),
    [
        ("frechet_distance", {"a": (5, 4, 6), "b": (9, 8, 10)}, ["a"], True),
        ("frechet_distance", {"a": (5, 4, 8), "b": (9, 7, 10)}, ["a"], False),
        ("frechet_distance", {"a": (9, 8, 10), "b": (5, 4, 6), "c": (6.5, 5.5, 7)}, ["b"], False),
        ("precision", {"a": (0.5, 0.4, 0.6), "b": (0.8, 0.7, 0.9)}, ["b"], True),
        ("precision", {"a": (0.501, 0.5, 0.502), "b": (0.504, 0.503, 0.505)}, ["a", "b"], False),
    ],
)
def test_a_model_is_distinguishable_only_by_its_interval(measure, intervals, models, distinguishable):
    results = {k: Interval(value=v, low=low, high=high, level=0.95) for k, (v, low, high) in intervals.items()}
    best = best_of(results, measure=measure)
    assert (best.models, best.distinguishable) == (models, distinguishable)


def test_with_few_patients_no_model_is_distinguishable():
    a, b = (Interval(value=v, low=v - 0.1, high=v + 0.1, level=0.95) for v in (1, 9))
    assert best_of({"a": a, "b": b}, measure="frechet_distance").distinguishable
    best = best_of({"a": a, "b": b}, measure="frechet_distance", note="too narrow")
    assert (best.models, best.distinguishable, best.note) == (["a"], False, "too narrow")
    assert best_of({"a": a}, measure="recall") is None


def test_the_verdict_names_the_better_model_if_it_is_distinguishable(models, paths, edit, enough_patients, tmp_path):
    reports = [edit(path, f"many-{path.name}", enough_patients) for path in paths]
    content = compare(reports=reports, out=tmp_path / "both")
    one, two = (facts["overall"][PAIR]["measures"]["frechet_distance"]["value"] for _, facts in models.values())
    assert one < 0.9 * two, "otherwise this test is empty"
    shown = format_value(one, "frechet_distance")
    assert content["verdict"][0].startswith("Best results: run-1 in Fréchet distance")
    assert f"run-1 has the lowest Fréchet distance, {shown}; its 95% interval, " in " ".join(content["verdict"])
    best = {"models": ["run-1"], "distinguishable": True, "note": None}
    assert content["overall"]["best"]["frechet_distance"] == best
    page = (tmp_path / "both" / "compare.html").read_text()
    assert re.search(rf'<th>run-1</th><td>24</td>\s*<td class="best">{shown}<i class="sign">†</i>', page)
    assert f"**{shown}**†" in (tmp_path / "both" / "compare.md").read_text()


def test_without_enough_patients_no_model_is_called_better(models, make, real_rows, fake_rows, report, tmp_path):
    few = make("few", [replace(p, patient_id=f"{p.split}-{p.patient_id[-1]}") for p in real_rows])
    off = [replace(p, source="run-2", image=p.image // 2) for p in fake_rows]
    for name, rows in (("x", fake_rows), ("y", off)):
        report(few, make(f"samples-{name}", rows), out=name)
    content = compare(reports=[tmp_path / "x", tmp_path / "y"], out=tmp_path / "both")
    assert not any("has the" in sentence for sentence in content["verdict"])
    assert content["verdict"][1].startswith("No measure shows that a model is better: ")
    assert "because there are only 3 patients: too narrow" in content["verdict"][1]
    assert not any(
        best["distinguishable"]
        for row in (content["overall"], *content["labels"].values())
        for best in row["best"].values()
    )
    assert "†:" in (tmp_path / "both" / "compare.md").read_text()
    assert (tmp_path / "both" / "compare.md").read_text().count("†") == 1


def test_the_verdict_repeats_that_a_report_warns_of_its_model(paths, edit, enough_patients, tmp_path):
    def warned(facts):
        enough_patients(facts)
        facts["cautions"] = [{"level": "alarm", "text": "20 patches are copies."}]

    def plain(facts):
        enough_patients(facts)
        facts["cautions"] = [{"level": "note", "text": "One patient."}]

    content = compare(reports=[edit(paths[0], "a", warned), edit(paths[1], "b", plain)], out=tmp_path / "both")
    assert content["cautions"][0] == {"level": "alarm", "text": "run-1: 20 patches are copies."}
    assert {"level": "note", "text": "run-2: One patient."} in content["cautions"]
    praise = [sentence for sentence in content["verdict"] if "run-1" in sentence]
    assert len(praise) > 1
    assert all("run-1 (see the warnings about it)" in sentence for sentence in praise)
    assert not any("run-2 (see" in sentence for sentence in content["verdict"])


def test_a_caution_of_all_reports_appears_once(paths, edit, tmp_path):
    def warned(facts):
        facts["cautions"] = [{"level": "note", "text": "One patient."}, {"level": "alarm", "text": "Trained on all."}]

    content = compare(reports=[edit(path, f"w-{path.name}", warned) for path in paths], out=tmp_path / "both")
    texts = [c["text"] for c in content["cautions"]]
    assert texts[:2] == ["Trained on all.", "One patient."]
    assert not any("Trained" in text or "One patient" in text for text in texts[2:])
