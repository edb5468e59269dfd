"""Reject words that the style of the project excludes, in prose and in identifiers (CONTRIBUTING.md, "English").

    python tools/check_words.py [FILE ...]

Without FILE, every tracked text file is checked. Identifiers are split at underscores and capitals: `told_by_main` and
`HeededBy` are found. Prints one line per finding and exits with 1 if there is any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

WORDS = {
    "told": "state, report or record",
    "anew": "again",
    "heed": "apply or respect",
    "heeded": "applied or respected",
    "heeds": "applies or respects",
    "mend": "fix",
    "mended": "fixed",
    "mends": "fixes",
    "mending": "fixing",
    "thrice": "three times",
    "lest": "so that … not",
    "manieth": "the n-th",
    "afar": "remote",
    "astray": "wrong",
    "desk": "the name of the thing",
    "patience": "timeout",
    "darts": "random placement",
    "gate": "middleware",
    "rooms": "packages",
}
"""Excluded word -> what to write instead."""
PHRASES = {
    "became of": "the status of",
    "become of": "the status of",
    "the way": "the path, the manner, or how",
    "the house": "the project",
    "in vain": "without effect",
    "of one's own": "your own",
    "open eyes": "knowingly",
    "what it sees": "its input",
}
"""Excluded phrase -> what to write instead."""
CHECKED = ("*.py", "*.md", "*.toml", "*.j2", "*.js", "*.css", "Makefile", ".ci/run")
OWN = ("check_words.py", "test_check_words.py")
"""Files that must name the words."""
_WORD = re.compile(rf"(?<![a-z])({'|'.join(WORDS)})(?![a-z])")
_PHRASE = re.compile(rf"\b({'|'.join(map(re.escape, PHRASES))})\b".replace(r"\ ", r"\s+"))
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_EMPTY_NAME = re.compile(r"^\s*found(: [^=]+)? = ")


def main() -> None:
    """Check the files named on the command line, or all."""
    files = sys.argv[1:] or subprocess.check_output(["git", "ls-files", *CHECKED], text=True).splitlines()
    findings = [line for file in files if Path(file).name not in OWN for line in check(Path(file))]
    print("\n".join(findings) or f"words: {len(files)} files, none excluded")
    sys.exit(bool(findings))


def check(file: Path) -> Iterator[str]:
    """Yield one line per excluded word of a text file."""
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        words = _CAPITAL.sub("_", line).lower()
        for match in (*_WORD.finditer(words), *_PHRASE.finditer(words)):
            instead = WORDS.get(match[1]) or PHRASES[" ".join(match[1].split())]
            yield f"{file}:{number}: '{match[1]}'; write {instead}"
        if file.suffix == ".py" and _EMPTY_NAME.match(line):
            yield f"{file}:{number}: 'found' says nothing; name the thing"


if __name__ == "__main__":
    main()
