"""Reports of two models against the same real patches."""

import json
import shutil
from dataclasses import replace

import pytest


@pytest.fixture
def report(report, monkeypatch):
    """As in conftest.py, with the main results only: no section and no chart enters a comparison."""
    monkeypatch.setattr("histosynth.report.build.write_charts", lambda *_, **__: None)

    def build(real, fake, *, out):
        return report(real, fake, out=out, sections=())

    return build


@pytest.fixture
def models(make, real, fake_rows, patches, report, tmp_path):
    """Reports of run-1, and of run-2, whose colors are wrong; `(path, content)` by name."""
    off = [replace(p, source="run-2", patch_id=f"off-{p.patch_id}", image=p.image // 2) for p in fake_rows]
    reports = {}
    for name, rows in (("one", fake_rows), ("two", off)):
        content = report(real, make(f"{name}-samples", rows, synthetic=True), out=name)
        reports[name] = (tmp_path / name, json.loads(json.dumps(content)))
    return reports


@pytest.fixture
def paths(models):
    return [path for path, _ in models.values()]


@pytest.fixture
def edit(tmp_path):
    """`edit(path, name, change)`: a copy of a report with changed content."""

    def copy(path, name, change):
        shutil.copytree(path, tmp_path / name)
        facts = json.loads((path / "report.json").read_text())
        change(facts)
        (tmp_path / name / "report.json").write_text(json.dumps(facts))
        return tmp_path / name

    return copy


@pytest.fixture
def enough_patients():
    """`enough_patients(facts)`: change the intervals of a report as if they were over enough patients."""

    def change(facts):
        for row in (facts["overall"], *facts["labels"].values()):
            for cell in row.values():
                for interval in cell["measures"].values():
                    value, margin = interval["value"], abs(interval["value"]) / 100
                    interval |= {"low": value - margin, "high": value + margin, "note": None}

    return change
