"""`histosynth info` prints facts as aligned lines, or as JSON."""

import json
from pathlib import Path

from click.testing import CliRunner

from histosynth.cli.info import as_lines, command
from histosynth.inspect.describe import describe


def test_text_and_json_hold_the_same_facts(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("slide_id,patient_id,label\na1,a,IDHwt\nb1,b,IDHmut\n")
    table = str(tmp_path / "labels.csv")
    text = CliRunner().invoke(command, [table], catch_exceptions=False).stdout
    assert text.startswith(f"{table}: labels\n  column     label\n")
    facts = json.loads(CliRunner().invoke(command, [table, "--json"], catch_exceptions=False).stdout)
    assert facts == {"path": table, **describe(Path(table))}


def test_lines_are_aligned_and_long_lists_are_shortened() -> None:
    facts = {"a": 12345, "long": [1] * 9, "none": None, "in": {"x": True, "yy": 0.123456789}, "text": ["A b.", "C d."]}
    assert as_lines(facts).splitlines() == [
        "  a     12,345",
        "  long  1, 1, 1, 1, 1, 1, 1, 1, … (9 in total)",
        "  none  none",
        "  in",
        "    x   yes",
        "    yy  0.123457",
        "  text",
        "    A b.",
        "    C d.",
    ]
