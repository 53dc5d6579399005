"""Ends of request paths, as catalog files write them: `/chat/completions`, `/models/*:generateContent`."""

from __future__ import annotations

__all__ = ["bare_path", "path_ends"]


def bare_path(path: str) -> str:
    """A path without its query and the slashes at its end, as `path_ends` takes it."""
    return path.partition("?")[0].rstrip("/")


def path_ends(pattern: str, path: str) -> bool:
    """Whether a path ends as the pattern says: `*` is any text, and `=` before a pattern takes the whole path."""
    if pattern.startswith("="):
        return path == pattern[1:]
    *before, last = pattern.split("*")
    if not path.endswith(last):
        return False
    end, at = len(path) - len(last), 0
    for part in before:  # each as far to the left as it can stand: what follows then has the most room
        at = path.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
