"""The empty mapping: one for the whole package, read-only, so it may be a default and may be shared."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

__all__ = ["EMPTY"]

EMPTY: Final[Mapping[Any, Any]] = MappingProxyType({})
