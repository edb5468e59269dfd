"""Tables as programs and people save them: each is read correctly, or gives a one-line error."""

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from histosynth.cohort.labels import read_labels
from histosynth.cohort.table import read_table
from histosynth.errors import HistosynthError
from limits import bounded

ROWS = "slide_id,patient_id,label\nS1,P1,wt\nS2,P2,codel\n"


def write(folder: Path, data: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        ROWS,
        "\ufeff" + ROWS,
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        ROWS.rstrip("\n"),
        ROWS.replace("\n", "\n\n  \n"),
        ROWS.replace("\n", ",,\n"),
        ROWS + ",,\n",
        ROWS.replace(",", " , "),
        "# from a portal\n" + ROWS,
        '"slide_id","patient_id","label"\n"S1","P1","wt"\n"S2","P2","codel"\n',
        'slide_id,note,patient_id,label\nS1,"two\n# lines, and a ""quote""",P1,wt\n\nS2,,P2,codel\n',
        ROWS.encode("utf-16"),
        b"\xfe\xff" + ROWS.replace(",", "\t").encode("utf-16-be"),
        ROWS + "S1,P1,wt\n",
    ],
    ids=[
        "plain", "BOM", "semicolon", "tab", "CRLF", "CR", "no last newline", "empty lines", "empty columns",
        "a row of nothing", "blanks around cells", "comment", "quotes", "line break in a cell", "UTF-16",
        "UTF-16 of a spreadsheet", "a row twice",
    ],
)  # fmt: skip
def test_common_table_formats_are_read(tmp_path: Path, data: str | bytes) -> None:
    labels = read_labels(write(tmp_path, data))
    assert {name: (labels.assign(name).label, labels.assign(name).patient_id) for name in ("S1", "S2")} == {
        "S1": ("wt", "P1"),
        "S2": ("codel", "P2"),
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is empty; add a header such as slide_id,patient_id,label"),
        ("\n\n# nothing\n", "is empty"),
        ("slide_id,label\n", "column 'label' is empty in every row"),
        ("S1,wt\nS2,codel\n", "no label column among S1, wt; call one of them"),
        ("slide_id\nS1\n", "no label column among slide_id"),
        ("label\nwt\n", "neither a slide_id nor a patient_id column among label"),
        ("slide_id,label,Label\nS1,wt,codel\n", "two columns are called 'label'"),
        ('slide_id,label\nS1,wt\nS2,"codel\nS3,wt\n', "begins in line 3; close its quotes"),
        ('slide_id,label\n"S1"x,wt\n', "begins in line 2; close its quotes"),
        ("slide_id,label\nS1,IDH mutant, 1p/19q codeleted\n", "line 2: '1p/19q codeleted' is beyond the 2 columns"),
        ("slide_id,label\nS1,wt\n".encode("utf-16-le"), "holds zero bytes"),
        ("slide_id,label\nS1,Ödem\n".encode("latin-1"), "is not UTF-8 text (byte 18)"),
        (b"\x89PNG\r\n\x1a\n\xff", "is not UTF-8 text"),
        ("slide_id,label\nS1,wt\n\nS1,codel\n", "slide S1 is 'wt' in line 2 and 'codel' in line 4"),
        ("slide,patient,label\nS1,P1,wt\nS1,P2,wt\n", "slide S1 belongs to patient P1 in line 2 and to P2 in line 3"),
    ],
)
def test_an_invalid_table_is_a_one_line_error(tmp_path: Path, data: str | bytes, message: str) -> None:
    with pytest.raises(HistosynthError) as caught:
        read_labels(write(tmp_path, data))
    assert message in str(caught.value)
    assert "labels.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters='\n,;\t"'), max_size=8)


@given(rows=st.lists(st.lists(texts, min_size=2, max_size=3), max_size=5), delimiter=st.sampled_from(",;\t"))
def test_tables_written_by_csv_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    path = write(tmp_path_factory.getbasetemp(), buffer.getvalue())
    stripped = [tuple(text.strip() for text in row) for row in rows]
    assert [cells for _, cells in read_table(path, what="x", example="a").rows] == [r for r in stripped if any(r)]


def test_a_pipe_is_rejected_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    with bounded("a pipe", seconds=1), pytest.raises(HistosynthError, match=r"labels\.csv is not a regular file"):
        read_labels(tmp_path / "labels.csv")


rough = st.text('ab1,;\t"#\n\r \x00ä', max_size=40)


@given(data=st.one_of(st.binary(max_size=40), rough.map(str.encode), rough.map(lambda text: text.encode("utf-16"))))
def test_any_file_is_a_table_or_a_one_line_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    header = "slide_id,label\n".encode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    path = write(tmp_path_factory.getbasetemp(), header + data)
    message = ""
    try:
        rows = read_labels(path).rows
    except HistosynthError as error:
        message = str(error)
    else:
        assert all(row.slide and row.label and "\0" not in row.label for row in rows)
    assert "\n" not in message
