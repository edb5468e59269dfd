"""Glioma genotypes as tables write them, under three names: IDHmut-codel, IDHmut-non-codel, IDHwt.

The names are those of the TCGA glioma papers (Ceccarelli et al. 2016, "IDH/codel subtype"), which cBioPortal prefixes
by the study (`LGG_IDHmut-codel`). Elsewhere the same three are IDHC, IDHNC, IDHWT, or words: `IDH mutant, 1p/19q
codeleted`, `IDH-wildtype`. Letter case, blanks and punctuation do not matter; every form must name IDH, so that `wt` or
`codel` alone stay what they are, and a mutant whose 1p/19q status is not given is none of the three.
"""

import re
from collections.abc import Iterable

CODEL, NON_CODEL, WILDTYPE = "IDHmut-codel", "IDHmut-non-codel", "IDHwt"

_IDH = r"(?:lgg|gbm)?idh(?:12|1|2)?"  # IDH, IDH1, IDH2, IDH1/2
_MUT = r"(?:mutant|mutated|mutation|mut|m)"
_AND = r"(?:and|with)?"
_CODEL = r"(?:codeleted|codeletion|codel|c)"
_NON = rf"(?:without|non|not|no|n)(?:1p19q)?{_CODEL}"
_FORMS = {
    CODEL: rf"{_IDH}{_MUT}?{_AND}(?:1p19q)?{_CODEL}",
    NON_CODEL: rf"{_IDH}(?:{_MUT}?{_AND}(?:1p19q)?{_NON}|{_MUT}{_AND}(?:1p19q)?intact)",
    WILDTYPE: rf"{_IDH}(?:wildtype|wild|wt)",
}


def parse_genotype(text: str) -> str | None:
    """The name of the genotype that `text` writes; None where it is no such form."""
    compact = re.sub(r"[\W_]+", "", text.lower())
    return next((name for name, form in _FORMS.items() if re.fullmatch(form, compact)), None)


def genotype_aliases(labels: Iterable[str]) -> dict[str, str]:
    """Which labels of a column to rename, and to what; none where the column is not one of genotypes.

    It is one where more than half of its distinct labels are such forms. The others keep their own words.
    """
    found = {label: parse_genotype(label) for label in sorted(set(labels))}
    known = {label: name for label, name in found.items() if name is not None}
    if 2 * len(known) <= len(found):
        return {}
    return {label: name for label, name in known.items() if label != name}
