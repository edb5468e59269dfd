"""Secrets: the token of a link is 128 random bits, of which only the SHA-256 is stored.

A token has full entropy, so a plain hash is enough: no dictionary can be tried. It is looked up by its hash, whose bits
an attacker cannot choose, and then compared in constant time.
"""

import hashlib
import hmac
import re
import secrets

_BYTES = 16


def new_token() -> str:
    """Return a new secret of 128 bits that is safe in a URL (22 characters)."""
    return secrets.token_urlsafe(_BYTES)


def new_id() -> str:
    """Return a new opaque id: 128 random bits, 32 hexadecimal digits. It reveals nothing about what it names."""
    return secrets.token_hex(_BYTES)


def is_id(text: str) -> bool:
    """Return whether a text has the form of an id. Other texts are not sent to a database, which may reject NUL."""
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def hash_token(token: str) -> str:
    """Return the hash under which a token is stored."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def hashes_equal(first: str, second: str) -> bool:
    """Return whether two hashes are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(first, second)
