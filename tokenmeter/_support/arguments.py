"""Checks arguments of public functions: each raises a documented error that names the argument and what it may be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenmeter.errors import ConfigurationError

__all__ = ["check_callable", "check_items", "check_methods", "check_seconds", "check_text"]


def check_text(value: object, name: str, example: str, *, needed: bool = False) -> None:
    """Raise ConfigurationError for what is no text; None is one unless `needed`."""
    if isinstance(value, str) or (value is None and not needed):
        return
    raise ConfigurationError(f"{name}={value!r:.200}: give a text, such as {example!r}")


def check_seconds(value: object, name: str) -> None:
    """Raise ConfigurationError for what is no number of seconds."""
    if not isinstance(value, int | float):
        raise ConfigurationError(f"{name}={value!r:.200}: give seconds, such as 5.0")


def check_callable(value: object, name: str, what: str) -> None:
    """Raise ConfigurationError for what cannot be called."""
    if not callable(value):
        raise ConfigurationError(f"{name}={value!r:.200}: give {what}")


def check_methods(value: object, name: str, methods: Iterable[str], what: str) -> None:
    """Raise ConfigurationError for an object (or a class in its place) that lacks one of the methods."""
    missing = [one for one in methods if not callable(getattr(value, one, None))]
    if missing or isinstance(value, type):
        raise ConfigurationError(f"{name}={value!r:.200}: give {what}")


def check_items(value: Any, name: str, what: str) -> tuple[Any, ...]:
    """The items of a collection. Raises ConfigurationError for what has none, and for a text."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigurationError(f"{name}={value!r:.200}: give {what}")
    return tuple(value)
