"""Links of annotators: who holds a link draws under its name.

A secret key in the folder of outlines gives each annotator a token for the link and another one for the cookie, so that
links and open pages stay valid when the server starts again. A new key (delete the file) makes all of them invalid.
"""

import hmac
import os
import secrets
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from histosynth.errors import HistosynthError

KEY = ".link-key"
_BYTES = 32


class Links:
    """Tokens of links and cookies.

    Args:
        folder: of the outlines; it keeps the key.
        names: of the annotators.

    Raises:
        HistosynthError: the file of the key is damaged.
        OSError: it cannot be read or written.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._key = _read_key(folder / KEY)
        self.names = tuple(names)

    def token(self, name: str) -> str:
        """Return the token in the link of an annotator."""
        return self._secret("link", name)

    def cookie(self, name: str) -> str:
        """Return what the browser of an annotator is recognized by."""
        return self._secret("cookie", name)

    def name_of_token(self, token: str) -> str | None:
        """Return whose link it is."""
        return self._find("link", token)

    def name_of_cookie(self, cookie: str) -> str | None:
        """Return whose cookie it is."""
        return self._find("cookie", cookie)

    def _secret(self, purpose: str, name: str) -> str:
        return hmac.digest(self._key, f"{purpose}:{name}".encode(), sha256).hex()[:32]

    def _find(self, purpose: str, secret: str) -> str | None:
        for name in self.names:
            if hmac.compare_digest(self._secret(purpose, name).encode(), secret.encode()):
                return name
        return None


def _read_key(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != _BYTES:
            raise HistosynthError(f"{path} is damaged; delete it, and hand out the new links") from None
        return key
    with os.fdopen(descriptor, "wb") as file:
        key = secrets.token_bytes(_BYTES)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key
