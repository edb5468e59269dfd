from pathlib import Path

import pytest

from histosynth.cohort.labels import LabelTable, patient_id_of, read_labels
from histosynth.errors import HistosynthError


def table(tmp_path: Path, text: str) -> LabelTable:
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode())
    return read_labels(path)


@pytest.mark.parametrize(
    ("slide_id", "patient"),
    [
        ("TCGA-DB-5270-01Z-00-DX1", "TCGA-DB-5270"),
        ("TCGA-DB-5270-01Z-00-DX1.6A1E-2B", "TCGA-DB-5270"),
        ("PHAN-01-0003-01Z-00-DX1", "PHAN-01-0003"),
        ("TCGA-DB-5270", "TCGA-DB-5270"),
        ("TCGA-DB-52701", "TCGA-DB-52701"),
        ("osteosarcoma_0001", "osteosarcoma_0001"),
    ],
)
def test_patient_id_comes_from_a_barcode_only(slide_id: str, patient: str) -> None:
    assert patient_id_of(slide_id) == patient


def test_labels_join_on_slide_then_on_patient(tmp_path: Path) -> None:
    labels = table(tmp_path, "slide_id,patient_id,label\nS1,P1,codel\nTCGA-AA-0001,,wt\n,TCGA-AA-0002,codel\n")
    assert (labels.assign("S1").label, labels.assign("S1").patient_id) == ("codel", "P1")
    assert labels.assign("TCGA-AA-0001-01Z-00-DX2").label == "wt"
    assert labels.assign("TCGA-AA-0002-01Z-00-DX1").label == "codel"
    assert (labels.assign("S2").label, labels.assign("S2").patient_id) == (None, "S2")


@pytest.mark.parametrize(
    "text",
    [
        "Slide ID;Genotype\nS1;wt\n",
        "File Name\tIDH.codel.subtype\nsome/where/S1.svs\twt\n",
        '\ufeffslide,subtype\r\n"S1.ome.tif","wt"\r\n',
        "# from a portal\n# of data\nimage,age,label\nS1,40,wt\n\n",
        "case,label\nS1,wt\n",
    ],
)
def test_common_table_formats_are_read(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, text).assign("S1").label == "wt"


def test_gdc_file_names_join_on_the_part_before_the_dot(tmp_path: Path) -> None:
    assert table(tmp_path, "slide_id,label\nSLIDE-7,wt\n").assign("SLIDE-7.0F2A-77").label == "wt"


def test_empty_labels_are_counted_and_unused_names_listed(tmp_path: Path) -> None:
    labels = table(tmp_path, "slide_id,label\nS1,wt\nS2,NA\nS3,\nS4,codel\nS5\n")
    assert labels.assign("S2").label is None
    facts = labels.describe(["S1", "S2"])
    assert (facts["rows"], facts["unlabeled_rows"], facts["without_slide"]) == (2, 3, ["S4"])


def test_repeated_rows_are_accepted_and_counted(tmp_path: Path) -> None:
    labels = table(tmp_path, "slide_id,label\nS1,wt\nS2,wt\nS1,wt\n")
    assert labels.assign("S1").label == "wt"
    assert labels.describe(["S1", "S2"])["repeated_rows"] == 1


@pytest.mark.parametrize(
    ("slide_id", "near"),
    [
        ("s1-a", "it has 'S1_A'"),
        ("S1_A_HE", "it has 'S1_A'"),
        ("S2", "it has 'S2_40x'"),
        ("S3", "line 4 has an empty label"),
        ("S10", None),
        ("S4", None),
        ("40x", None),
    ],
)
def test_a_slide_without_label_names_a_similar_row(tmp_path: Path, slide_id: str, near: str | None) -> None:
    labels = table(tmp_path, "slide_id,label\nS1_A,wt\nS2_40x,wt\nS3,NA\n")
    assert labels.near_miss(slide_id) == near
    assert labels.describe([slide_id, "S1_A"])["slides_without_label"] == {slide_id: near}


def test_genotypes_are_renamed_unless_disabled(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("slide_id,patient,subtype\nS1,P1,IDHC\nS2,P1,IDHmut-codel\nS3,P2,IDH-wildtype\nS4,P3,?\n")
    labels = read_labels(path)
    assert [labels.assign(f"S{n}").label for n in (1, 2, 3, 4)] == ["IDHmut-codel", "IDHmut-codel", "IDHwt", "?"]
    assert labels.describe([])["genotype_aliases"] == {"IDHC": "IDHmut-codel", "IDH-wildtype": "IDHwt"}
    with pytest.raises(HistosynthError, match="patient P1 is 'IDHC' in line 2 and 'IDHmut-codel' in line 3"):
        read_labels(path, aliases=False)
    raw = read_labels(path, aliases=False, one_label_per_patient=False)
    assert raw.assign("S3").label == "IDH-wildtype"
    assert raw.describe([])["genotype_aliases"] == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("slide_id,age\nS1,4\n", "no label column among slide_id, age"),
        ("name,label\nS1,wt\n", "neither a slide_id nor a patient_id column among name, label"),
        ("slide_id,label\nS1,\n", "column 'label' is empty in every row"),
        ("slide_id,label\n,wt\n", "line 2: neither slide nor patient is named"),
        ("slide_id,label\nS1,wt\nS2,wt\nS1,codel\n", "slide S1 is 'wt' in line 2 and 'codel' in line 4"),
        ("slide_id,patient,label\nS1,P,wt\nS2,P,codel\n", "patient P is 'wt' in line 2 and 'codel' in line 3"),
        ("slide_id,label\nTCGA-AA-0001-A,wt\nTCGA-AA-0001-B,codel\n", "patient TCGA-AA-0001 is 'wt'"),
        ("slide_id,patient,label\nS1,P,wt\nS1,Q,wt\n", "slide S1 belongs to patient P in line 2 and to Q in line 3"),
        ('slide_id,label\n"S1,wt\n', "is not a CSV table"),
    ],
)
def test_invalid_tables_are_one_line_errors(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(HistosynthError, match=message) as caught:
        table(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_unreadable_tables_are_errors(tmp_path: Path) -> None:
    with pytest.raises(HistosynthError, match="cannot be read: No such file"):
        read_labels(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes("slide_id,label\nS1,Ödem\n".encode("latin-1"))
    with pytest.raises(HistosynthError, match="not UTF-8"):
        read_labels(tmp_path / "latin.csv")
