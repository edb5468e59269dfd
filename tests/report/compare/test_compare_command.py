"""The command `compare`."""

import json
import re

import pytest

from histosynth.errors import HistosynthError
from histosynth.inspect.describe import describe


def test_the_command(paths, tmp_path, run):
    out = tmp_path / "both"
    code, out_text, err = run("compare", *paths, "--out", out)
    assert (code, err) == (0, "")
    tables = (out / "compare.md").read_text()
    assert tables.partition("Table 3")[0] in out_text
    assert re.sub(r" \[.*?\]|[ -]", "", tables.partition("Table 3")[2]) in re.sub(r" \[.*?\]|[ -]", "", out_text)
    assert out_text.splitlines()[-1] == f"comparison   {out / 'compare.html'}"
    code, out_text, err = run("compare", *paths, "--out", out, "--json")
    assert (code, err) == (0, "")
    content = json.loads((out / "compare.json").read_text())
    assert json.loads(out_text) == content
    facts = describe(out)
    assert (facts["kind"], facts["models"]) == ("comparison", {"run-1": str(paths[0]), "run-2": str(paths[1])})
    assert facts["verdict"] == content["verdict"]
    (out / "compare.json").write_text("{")
    with pytest.raises(HistosynthError, match=r"compare\.json is damaged"):
        describe(out)


def test_mistakes_on_the_command_line(paths, tmp_path, run):
    for words, message in (
        ((paths[0],), "nothing to compare"),
        ((paths[0], tmp_path / "absent"), "is not a report"),
        ((), "Missing argument 'REPORT...'"),
    ):
        code, out_text, err = run("compare", *words, "--out", tmp_path / "both")
        assert (code, out_text) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1
