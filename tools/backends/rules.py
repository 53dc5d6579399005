"""Why a backend may show something else than we recorded: one rule for each reason, and what it then shows.

A rule names the columns it is about, the calls it is about, and what those cells must hold; a cell that differs from
ours is explained only if a rule foretells exactly what is there. A rule that explains nothing in a whole run is wrong
and fails the check, so that none outlives its reason. ANY is for numbers that are a backend's own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

__all__ = ["ANY", "RULES", "Cell", "Rule"]

ANY: Final = object()
TRACES: Final = ("Phoenix", "Phoenix synced", "Phoenix rated", "MLflow", "MLflow rated")
PHOENIX: Final = TRACES[:3]
SYNCED: Final = TRACES[1:3]


@dataclass(frozen=True)
class Cell:
    """One call in one column: what we recorded, and what the backend showed of it before (`first`).

    `cost` is what the column should show of our cost: dollars at the run's rate in a rated one, else the bill.
    `left_out` is why the price sync before this column left the model's price out, None if it did not.
    """

    column: str
    kinds: frozenset[str]
    record: Mapping[str, Any]
    tokens: Mapping[str, int]
    reported: Mapping[str, int]
    cost: float | None
    currency: str | None
    reported_cost: float | None
    first: float | None = None
    left_out: str | None = None


class Rule(NamedTuple):
    """A reason: the columns and the figure it is about, the calls it holds for, what is shown then, and why."""

    columns: tuple[str, ...]
    figure: str
    holds: Callable[[Cell], bool]
    shows: Callable[[Cell], Any]
    why: str


def _unreported(cell: Cell) -> bool:
    return cell.tokens != cell.reported


def _theirs(cell: Cell) -> bool:
    """A stream of Anthropic's SDK that was left: the SDK traces itself, and ends its span before the call settles."""
    return cell.record["provider"] == "anthropic" and cell.record["end"] != "complete"


RULES: Final = (
    Rule(
        TRACES, "tokens", _unreported, lambda cell: cell.reported,
        "The vendor did not report these numbers, since the stream was left: ours are counted or partial, and stay out "
        "of the standard names unless export_estimates=True.",
    ),
    Rule(
        PHOENIX, "tokens", lambda cell: "embeddings" in cell.kinds, lambda _: {},
        "Phoenix reads no tokens of embeddings' spans.",
    ),
    Rule(
        PHOENIX, "cost", lambda cell: "embeddings" in cell.kinds, lambda _: None,
        "Phoenix prices spans of kind LLM only.",
    ),
    Rule(
        PHOENIX[:1], "cost", lambda cell: "embeddings" not in cell.kinds, lambda _: ANY,
        "Phoenix ignores the cost that is sent and multiplies tokens by its own table; these are not our prices, and "
        "in dollars whatever the vendor bills. `tokenmeter phoenix sync` is for that.",
    ),
    Rule(
        SYNCED, "cost", lambda cell: cell.left_out is not None and "embeddings" not in cell.kinds,
        lambda cell: cell.first,
        "Left out of the sync, with the reason beside it: Phoenix shows what it showed before.",
    ),
    Rule(
        SYNCED, "cost", lambda cell: cell.left_out is None and cell.record["status"] == "free", lambda _: None,
        "Phoenix shows no cost where it is zero.",
    ),
    Rule(
        SYNCED, "cost", lambda cell: cell.left_out is None and _unreported(cell), lambda cell: cell.reported_cost,
        "Phoenix prices the tokens it sees: of a stream that was left, those that were reported, at our price.",
    ),
    Rule(
        ("MLflow",), "cost", lambda cell: cell.currency not in (None, "USD"), lambda _: None,
        "MLflow shows dollars. A cost in yuan is not sent to it without a rate of yours, and it is kept from making up "
        "one by its own table.",
    ),
    Rule(
        ("MLflow", "MLflow rated"), "cost", _theirs, lambda cell: cell.reported_cost,
        "Anthropic's SDK ends its own span when the stream is closed, before the call settles. Our cost is on a span "
        "below it; MLflow prices the one above, by the tokens it has.",
    ),
)  # fmt: skip
