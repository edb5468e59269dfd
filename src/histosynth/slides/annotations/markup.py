"""XML of unknown origin into elements. Document types are refused, and entities with them: no bombs, no other files."""

from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from histosynth.errors import HistosynthError


def parse_xml(data: bytes, where: str) -> Element:
    """The root element. Encodings are those that expat knows: UTF-8, UTF-16, ISO 8859-1 and 8-bit code pages.

    Raises:
        HistosynthError: not well-formed, or with a document type.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: object) -> None:
        raise HistosynthError(
            f"{where} declare a document type, which no annotation tool writes and may do harm; export them anew"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise HistosynthError(f"{where} are not valid XML ({error}); export them anew") from error
