"""How many tokens the text of a request can be at most, without counting it: in one walk over its body.

A token is a byte at least, so the bytes of the texts bound their tokens. Each message, tool and value adds some tokens
of frame. Files and images are left to counting, since their bytes say nothing of their tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["most_input"]

_FRAME: Final = 4
"""Tokens around each value, such as the role of a message or the key of a schema."""
_WIDE: Final = 3
"""Bytes of a character outside ASCII; emoji have 4, and never so many tokens."""
_FIXED: Final = 50
_TOOLS: Final = 600
"""What vendors put before tool definitions; 99.4% of recorded requests are covered with it."""
_LONG: Final = 100_000
_DEEPEST: Final = 64


def most_input(body: object, words: frozenset[str]) -> tuple[int | None, bool]:
    """The most tokens that a request can have, and whether one of `words` is a key in it.

    None where it holds what is no text: media, or more than can be walked.
    """
    total = _FIXED
    found = False
    left: list[tuple[Any, int]] = [(body, 0)]
    while left:
        one, depth = left.pop()
        kind = type(one)
        if kind is str or isinstance(one, str):
            if one.startswith("data:") or len(one) > _LONG:
                return None, found
            total += _FRAME + (len(one) if one.isascii() else len(one) * _WIDE)
        elif kind is dict or isinstance(one, Mapping):
            if depth > _DEEPEST:
                return None, found
            for key, value in one.items():
                if key in words:
                    found = True
                if key == "tools" and value:
                    total += _TOOLS
                if key in _MEDIA and value:
                    return None, found
                total += len(key if type(key) is str else str(key)) + _FRAME
                left.append((value, depth + 1))
        elif isinstance(one, list | tuple):
            left += [(value, depth + 1) for value in one]
        elif isinstance(one, bytes):
            return None, found
        else:
            total += 2 * _FRAME  # a number or a switch, or an SDK's object, whose text is not ours to read
            if not isinstance(one, int | float | None):
                return None, found
    return total, found


_MEDIA: Final = frozenset(
    (
        *("image_url", "input_audio", "audio", "video", "video_url", "file", "file_data", "inline_data", "inlineData"),
        *("fileData", "file_id", "source", "image", "images", "document", "media"),
    )
)
