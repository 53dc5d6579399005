"""Shows a scope to people: the sums of its calls as rows of text, and as a table of HTML for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tokenmeter.money import Money

__all__ = ["html_of", "rows_of", "text_of"]


class ShownSums(Protocol):
    """What is shown of a scope."""

    @property
    def path(self) -> tuple[str, ...]: ...
    @property
    def cost(self) -> Mapping[str, Money]: ...
    @property
    def usage(self) -> Mapping[str, int]: ...
    @property
    def sources(self) -> Mapping[str, int]: ...
    @property
    def calls(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def unpriced(self) -> int: ...


def text_of(scope: ShownSums) -> str:
    """The sums in one line."""
    inside = ", ".join(f"{name}: {value}" for name, value in rows_of(scope))
    return f"<Scope {'/'.join(scope.path)} {inside}>"


def html_of(scope: ShownSums) -> str:
    """The sums as a table."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:right'>{escape(value)}</td></tr>"
        for name, value in rows_of(scope)
    )
    return f"<table><caption>{escape(' / '.join(scope.path))}</caption>{rows}</table>"


def rows_of(scope: ShownSums) -> list[tuple[str, str]]:
    """The sums by name."""
    rows = [("cost", str(money)) for money in scope.cost.values()] or [("cost", "nothing priced")]
    rows.append(("calls", f"{scope.calls}" + (f" (+{scope.pending} pending)" if scope.pending else "")))
    if scope.unpriced:
        rows.append(("unpriced calls", str(scope.unpriced)))
    rows.extend((name, f"{tokens:,}") for name, tokens in scope.usage.items())
    rows.extend((f"calls {source}", str(count)) for source, count in scope.sources.items() if source != "reported")
    return rows
