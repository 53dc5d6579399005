"""Whose key paid for a call: a name that the user gave, else a hash of the credential that its request carries.

A hash is `key-` and twelve hexadecimal digits of BLAKE2b, keyed with the user's `account_key` where that is set.
Without it the hash of a key is the same on every machine, so that a fleet's spend adds up. Only credentials that no one
can guess are hashed: keys of vendors, and the ids of access keys in signatures. Passwords, short words and tokens that
live for an hour have none; of a JSON web token it is that of the client for which the token was made.

No credential is kept: what was seen is remembered by Python's hash of it, which differs in each process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import absorbed

__all__ = ["Accounts", "note_account"]

_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_NAMES: Final = frozenset((*_HEADERS, *(name.encode() for name in _HEADERS)))
_SIGNED: Final = re.compile(r"\bCredential=([^/,\s]+)")
"""The id of the access key in a signature of AWS, Volcengine or Tencent Cloud."""
_PASSING: Final = ("ASIA", "ya29.", "STS.")
"""How the ids of credentials begin that live for hours."""
_CLAIMS: Final = ("api_key", "appid", "azp", "client_id", "sub")
"""What names the client in a JSON web token, by vendor; the first that is there."""
_SHORTEST: Final = 16
"""Keys of vendors have 20 characters and more; shorter ones can be guessed, and local servers take any word."""
_SEEN: Final = 2_000
_NEW: Final = "new"


def note_account(call: Any, headers: Any) -> None:
    """Note whose key a request of an open call carries. Never raises what is an Exception."""
    accounts = call.lifecycle.accounts
    try:
        if accounts is not None and accounts.looks:
            call.account = accounts.seen(headers)
    except BaseException as error:
        if not absorbed("telling the account of a request", error):
            raise


class Accounts:
    """Tells the accounts of one meter's calls.

    `names` are names that the user gave: by hash, by provider, or `*` for all. `key` is the secret of the hashes.
    """

    def __init__(self, names: Mapping[str, str] = EMPTY, key: str | None = None) -> None:
        self._names = names
        self._key = key
        # Plain dicts, for they are read on the path of every request (`attempts._joined`).
        self.known: dict[int, str | None] = {}
        """Accounts by the hash, in this process, of a credential."""
        self.places: dict[int, int] = {}
        """Where a credential last stood among so many headers of httpx."""
        self.looks: bool = not (names and {*names} == {"*"})
        """Whether headers are looked at: not where one name is that of all calls."""

    def seen(self, headers: Any) -> str | None:
        """The account of a request with these headers, a mapping or pairs; None where they tell none."""
        fields = getattr(headers, "_list", None)  # httpx: names as they came and in lower case, values
        if isinstance(fields, list):
            for place, (_, name, value) in enumerate(fields):
                if name in _NAMES:
                    self.places[len(fields)] = place
                    return self._of(value)
            return None
        for name, value in headers.items() if hasattr(headers, "items") else headers or ():
            if name.lower() in _NAMES and isinstance(value, bytes | str):
                return self._of(value)
        return None

    def named(self, account: str | None, provider: str | None) -> str | None:
        """The name that the user gave to an account, else the account."""
        names = self._names
        if not names:
            return account
        return names.get(account or "") or names.get(provider or "") or names.get("*") or account

    def hash_of(self, credential: str) -> str:
        """The hash of a key."""
        from hashlib import blake2b

        secret = b"" if self._key is None else blake2b(self._key.encode("utf-8", "replace")).digest()
        digest = blake2b(credential.encode("utf-8", "replace"), digest_size=6, key=secret, person=b"tokenmeter")
        return f"key-{digest.hexdigest()}"

    def _of(self, value: bytes | str) -> str | None:
        data = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
        found = self.known.get(hash(data), _NEW)
        if found is not _NEW:
            return found
        text = data.decode("utf-8", "replace")
        credential = _stable(text)
        account = None if credential is None else self.hash_of(credential)
        if not _SIGNED.search(text):  # each signature is another text
            if len(self.known) >= _SEEN:
                self.known.clear()
            self.known[hash(data)] = account
        return account


def _stable(text: str) -> str | None:
    """What stays the same in a credential as long as its account does; None where nothing that may be hashed does."""
    signed = _SIGNED.search(text)
    scheme, _, rest = text.strip().partition(" ")
    if signed is not None:
        text = signed[1]
    elif rest:
        if scheme.lower() == "basic":
            return None
        text = rest.strip()
    else:
        text = scheme
    if text.startswith("eyJ") and text.count(".") == 2:
        return _client_of(text)
    if text.startswith(_PASSING) or len(text) < _SHORTEST:
        return None
    return text


def _client_of(token: str) -> str | None:
    """Whom a JSON web token names as its client."""
    from base64 import urlsafe_b64decode

    part = token.split(".")[1]
    try:
        claims = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
    if not isinstance(claims, dict):
        return None
    found = (claims.get(name) for name in _CLAIMS)
    return next((one for one in found if isinstance(one, str) and len(one) >= _SHORTEST), None)
