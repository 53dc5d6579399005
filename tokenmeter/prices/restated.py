"""Quantities that a rate has no price for and that need none: they only restate what is billed.

A Wan video is billed by the second, and its answer says how many videos there are too; a transcription is billed by
the second of audio, and its text has tokens. A quantity that measures something else stays unknown, and the call
unpriced.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from tokenmeter.components import COMPONENTS, PIECES, Component, component_of, total_of
from tokenmeter.usage import Source, Usage

__all__ = ["without_restated"]

_REPORTED = (Source.REPORTED, Source.PARTIAL)


def without_restated(
    missing: Iterable[str], usage: Usage, *, prices: Collection[str], billed: Collection[str]
) -> tuple[list[str], tuple[str, ...]]:
    """The components among `missing` that really have no price, and the flags of reported tokens that are not billed.

    `prices` are the components that the rate prices, `billed` those of them with a quantity.
    """
    unpriced: list[str] = []
    flags: dict[str, None] = {}
    pieces = any(piece.usage in PIECES for piece in _components(billed))
    for name in missing:
        component = component_of(name)
        if component is None:
            unpriced.append(name)
        elif not _is_tokens(component):
            if not _measured_otherwise(component, prices, billed):
                unpriced.append(name)
        elif not pieces:
            unpriced.append(name)
        else:
            total = f"{total_of(name)}_tokens"
            reported = usage.source_of(total) in _REPORTED
            if reported and any(_is_tokens(part) for part in _components(prices)):
                unpriced.append(name)
            elif reported:
                flags[f"not_billed={total}"] = None
    return unpriced, tuple(flags)


def _measured_otherwise(component: Component, prices: Collection[str], billed: Collection[str]) -> bool:
    """Whether another measure of the same thing is billed, by itself or inside the total that holds it."""
    if component.measures is None:
        return False
    others = {part.name: part for part in COMPONENTS if part.measures == component.measures}
    return any(name in billed or (name in prices and part.inside in billed) for name, part in others.items())


def _components(names: Iterable[str]) -> Iterator[Component]:
    return (part for name in names if (part := component_of(name)) is not None)


def _is_tokens(component: Component) -> bool:
    return component.ledger is not None or component.inside is not None
