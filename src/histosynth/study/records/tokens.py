"""Secrets: 128 random bits in a link, of which only the SHA-256 is kept.

A token has full entropy, so a plain hash is enough: there is no dictionary to try. It is looked up by its hash, whose
bits a guesser cannot steer, and then compared in constant time.
"""

import hashlib
import hmac
import re
import secrets

_BYTES = 16


def new_token() -> str:
    """A fresh secret of 128 bits, safe in a URL (22 characters)."""
    return secrets.token_urlsafe(_BYTES)


def new_id() -> str:
    """A fresh opaque id: 128 random bits, 32 hexadecimal digits. It says nothing of what it names."""
    return secrets.token_hex(_BYTES)


def is_id(text: str) -> bool:
    """Whether a text can be an id at all. What cannot be is not asked of a database, which may choke on it (NUL)."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def hash_token(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def hashes_equal(one: str, other: str) -> bool:
    """Whether two hashes are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(one, other)
