"""Parse XML of unknown origin. Document types, and thus entities, are rejected: no entity bombs, no external files."""

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from histosynth.errors import HistosynthError


def parse_xml(data: bytes, where: str) -> Element:
    """Return the root element. Encodings are those of expat: UTF-8, UTF-16, ISO 8859-1 and 8-bit code pages.

    Raises:
        HistosynthError: not well-formed, or with a document type.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def reject(*_: object) -> None:
        raise HistosynthError(
            f"{where} declare a document type, which is unsafe and which no annotation tool writes; export them again"
        )

    parser.StartDoctypeDeclHandler = reject
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise HistosynthError(f"{where} are not valid XML ({error}); export them again") from error
