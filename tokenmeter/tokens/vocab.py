"""Packs and unpacks vocabularies: the format of `tokenizers/*.vocab`.

zlib over: the number of tokens (4 bytes, big-endian), the length of each token (2 bytes each, big-endian), then the
tokens' bytes, in rank order. zlib and not xz: a fifth larger, and 45 ms faster to unpack for 200,000 tokens, which is
an eighth of the time to the first count.

`fingerprint` is computed over the same bytes in the same order and identifies a vocabulary whatever file it was
read from.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence

from tokenmeter.errors import CatalogError

__all__ = ["fingerprint", "pack", "unpack"]


def pack(tokens: Sequence[bytes]) -> bytes:
    """The packed file of these tokens. The same tokens give the same bytes."""
    lengths = struct.pack(f">I{len(tokens)}H", len(tokens), *map(len, tokens))
    return zlib.compress(lengths + b"".join(tokens), 9)


def unpack(data: bytes, name: str = "vocabulary") -> tuple[bytes, ...]:
    """The tokens of a packed file. Raises CatalogError naming the file when it is damaged."""
    try:
        raw = zlib.decompress(data)
        (count,) = struct.unpack_from(">I", raw)
        lengths = struct.unpack_from(f">{count}H", raw, 4)
        # One format of 200,000 fields is faster than slicing in a loop; a Struct of our own, since the module's
        # functions would keep it in their cache.
        fields = tuple(f"{length}s" for length in range(max(lengths, default=0) + 1))
        return struct.Struct("".join(map(fields.__getitem__, lengths))).unpack_from(raw, 4 + 2 * count)
    except (zlib.error, struct.error) as error:
        raise CatalogError([f"{name}: damaged ({error}); build it again: python -m tokenmeter.tokens.build"]) from None


def fingerprint(tokens: Iterable[bytes]) -> str:
    """First 16 hex digits of sha256 over each token's length (2 bytes, big-endian) and bytes, in rank order."""
    digest = hashlib.sha256()
    for token in tokens:
        digest.update(struct.pack(">H", len(token)))
        digest.update(token)
    return digest.hexdigest()[:16]
