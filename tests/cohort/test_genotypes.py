import pytest

from histosynth.cohort.genotypes import CODEL, NON_CODEL, WILDTYPE, genotype_aliases, parse_genotype


@pytest.mark.parametrize(
    ("name", "forms"),
    [
        (CODEL, ["IDHC", "IDHmut-codel", "IDHmut_codel", "idhmut codel", "IDH mutant, 1p/19q codeleted",
                 "IDH-mutant and 1p/19q-codeleted", "LGG_IDHmut-codel", "IDH1 mutated, 1p19q codel",
                 "IDH-codel", "IDH mutant with 1p/19q codeletion"]),
        (NON_CODEL, ["IDHNC", "IDHmut-non-codel", "IDHmut_noncodel", "IDH mutant, 1p/19q non-codeleted",
                     "IDH-mutant, 1p/19q intact", "IDH mutant without 1p/19q codeletion", "IDHmut no codel",
                     "GBM_IDHmut-non-codel", "IDH mutant, no 1p/19q codeletion", "IDH mutant, 1p/19q not codeleted"]),
        (WILDTYPE, ["IDHWT", "IDHwt", "IDH-wildtype", "IDH wild type", "IDH wild-type", "GBM_IDHwt", "IDH1/2 wt"]),
        (None, ["wt", "codel", "mutant", "IDHmut", "IDH mutant", "IDH", "IDH intact", "1p/19q codeleted", "Tumor", "",
                "not IDHwt", "IDHwt?x", "NC", "Oligodendroglioma"]),
    ],
)  # fmt: skip
def test_forms_are_parsed(name: str | None, forms: list[str]) -> None:
    assert {form: parse_genotype(form) for form in forms} == dict.fromkeys(forms, name)


def test_a_column_of_genotypes_is_renamed_except_other_labels() -> None:
    aliases = genotype_aliases(["IDHC", "IDHNC", "IDHNC", "IDHwt", "not done"])
    assert aliases == {"IDHC": CODEL, "IDHNC": NON_CODEL}


def test_a_column_of_other_labels_is_unchanged() -> None:
    assert genotype_aliases(["IDH-wildtype", "IDH-mutant"]) == {}  # the status of IDH alone
    assert genotype_aliases(["viable", "necrosis", "IDHC"]) == {}
    assert genotype_aliases([]) == {}
