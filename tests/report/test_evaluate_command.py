"""The command `evaluate`."""

import json
import re

import pytest

from histosynth.metrics.extractors import extractors


def test_the_command(make, patches, tmp_path, run):
    real = make("real", [p for s in ("train", "held_out") for p in patches(4, "IDHwt", split=s)])
    fake = make("fake", patches(5, "IDHwt", source="run"))
    stores = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report")
    code, out, err = run("evaluate", *stores, "--set", "evaluate.grid=2", "--device", "cpu", "--quiet")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"report   {tmp_path / 'report' / 'report.html'}"
    assert re.search(r"^IDHwt +4 +[\d.]+ +[\d.]+ +[\d.]+ +[01]\.\d\d +[01]\.\d\d$", out, re.MULTILINE)
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["extractor"]["weights_sha256"].startswith("579344248a93e230")
    assert content["settings"]["grid"] == 2


def test_the_command_prints_the_extractor_and_caches_its_features(make, patches, extractor, tmp_path, monkeypatch, run):
    monkeypatch.setitem(extractors._items, "test", lambda device: extractor)
    real = make("real", [p for i, s in enumerate(("train", "held_out")) for p in patches(4, "IDHwt", split=s, seed=i)])
    fake = make("fake", patches(5, "IDHwt", source="run"))
    arguments = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report")
    reports = []
    for extra in ((), (), ("--cache", "off")):
        options = ("--extractor", "test", "--cache", tmp_path / "cache", "--quiet", *extra)
        code, out, err = run("evaluate", *arguments, *options)
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == "mean-and-contrast features"
        reports.append((json.loads((tmp_path / "report" / "report.json").read_text())["overall"], extractor.seen))
    results, seen = zip(*reports, strict=True)
    assert results[0] == results[1] == results[2]
    assert seen == (12, 12, 24)


def test_weights_for_an_extractor_that_takes_none(real, fake, tmp_path, run):
    arguments = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report", "--weights", "w.pth")
    code, _, err = run("evaluate", *arguments, "--extractor", "efficientnet-lite0")
    assert code == 2
    assert "--weights w.pth: the extractor efficientnet-lite0 accepts no weights file" in err


def test_the_command_prints_json(real, fake, extractor, tmp_path, monkeypatch, run):
    monkeypatch.setitem(extractors._items, "test", lambda device: extractor)
    stores = ("--real", real.path, "--fake", fake.path, "--out", tmp_path / "report")
    code, out, err = run("evaluate", *stores, "--set", "evaluate.extractor=test", "--json")
    assert code == 0
    assert "72/72" in err, "progress goes to standard error"
    assert json.loads(out) == json.loads((tmp_path / "report" / "report.json").read_text())


@pytest.mark.parametrize(
    ("real_name", "fake_name", "extra", "message"),
    [
        ("fake", "real", (), "swap --real and --fake, or pack"),
        ("absent", "fake", (), "is not a patch store"),
        ("real", "fake", ("--set", "evaluate.extractor=inceptoin"), "did you mean 'inception'?"),
        ("real", "fake", ("--device", "cuda:99"), "try --device cpu"),
        ("real", "fake", ("--set", "evaluate.neighbours=5"), "did you mean 'neighbors'?"),
    ],
)
def test_mistakes_on_the_command_line(real, fake, tmp_path, run, real_name, fake_name, extra, message):
    arguments = ("--real", tmp_path / real_name, "--fake", tmp_path / fake_name, "--out", tmp_path / "report", *extra)
    code, out, err = run("evaluate", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "report").exists()
