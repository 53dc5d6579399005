"""All that a page shows, asked of one snapshot of a ledger, so that its charts, tables and totals agree.

Every sum of money is a row of a report (`ledger/report/query.py`), or was made of such rows by `totals_of`; nothing is
converted or added across currencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from tokenmeter.budgets.limits import BudgetLimit
from tokenmeter.ledger.page.budget_windows import BudgetUse, budget_uses
from tokenmeter.ledger.page.charged import ChargedComponent, charged_components
from tokenmeter.ledger.page.dearest import (
    DearCall,
    DearTrace,
    UnpricedModel,
    dearest_calls,
    dearest_traces,
    unpriced_models,
)
from tokenmeter.ledger.page.groups import Group, TagCensus, check_keys, leading, narrowed, tags_of
from tokenmeter.ledger.page.price_changes import ChargedChange, price_changes
from tokenmeter.ledger.page.series import Series, series, timeline
from tokenmeter.ledger.report.answer import LedgerReport
from tokenmeter.ledger.report.compare import compare
from tokenmeter.ledger.report.query import ask
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select
from tokenmeter.ledger.report.stats import Value, measured, parse_stats

__all__ = ["MODEL", "PageFigures", "Statistics", "gather"]

Statistics = Mapping[tuple[Group, str], Mapping[str, Value]]
"""Statistics by label, such as `cost_p50`, of a model's calls in a currency."""

MODEL: Final = ("provider", "model")
_STATS: Final = "p50,p95,p50:duration,p95:duration,sum:cache_saved"
_MOST_ROWS: Final = 8
_MOST_UNPRICED: Final = 12
_FEW: Final = 40
"""Values of a tag whose spend over time is drawn unasked."""


@dataclass(frozen=True, kw_only=True)
class PageFigures:
    """The answers; `statistics` are by model and currency, `over_time` is a series for each key asked for.

    `dearest` and `traces` are by currency. Where no call matches, all but `totals` is empty.
    """

    totals: LedgerReport
    by_model: Series | None = None
    statistics: Statistics = field(default_factory=dict)
    over_time: tuple[Series, ...] = ()
    most_of: tuple[Series, ...] = ()
    """Keys whose dearest values are shown without their course."""
    tags: tuple[TagCensus, ...] = ()
    changes: tuple[ChargedChange, ...] = ()
    components: tuple[ChargedComponent, ...] = ()
    comparison: LedgerReport | None = None
    """The report by model beside an earlier period, where one was named."""
    unpriced: tuple[UnpricedModel, ...] = ()
    dearest: Mapping[str, Sequence[DearCall]]
    traces: Mapping[str, Sequence[DearTrace]]
    budgets: tuple[BudgetUse, ...] = ()

    @property
    def currencies(self) -> list[str]:
        return [row.currency for row in self.totals.totals if row.currency is not None]


def gather(
    snapshot: Snapshot,
    question: Question,
    keys: Sequence[str] | None,
    limits: Mapping[str, BudgetLimit] | None = None,
    earlier: tuple[datetime, datetime] | None = None,
) -> PageFigures:
    """Ask everything. `keys` are drawn over time; None stands for the model and the most used tag of few values.

    `limits` are those of budgets by name, `earlier` is a period to compare with. Raises ConfigurationError for an
    unknown key.
    """
    bare = replace(question, by=(), stats=())
    check_keys(snapshot, bare, keys or ())
    totals = ask(snapshot, bare)
    line = timeline(snapshot, bare)
    if line is None:
        return PageFigures(totals=totals, dearest={}, traces={})
    by_model = series(snapshot, bare, MODEL, line)
    tags = tags_of(snapshot, bare)
    drawn, ranked = _chosen(tags) if keys is None else ([(key,) for key in keys if key != "model"], [])
    currencies = [row.currency for row in totals.totals if row.currency is not None]
    return PageFigures(
        totals=totals,
        by_model=by_model,
        statistics=_statistics(snapshot, bare, by_model),
        over_time=tuple(series(snapshot, bare, key, line) for key in drawn),
        most_of=tuple(series(snapshot, bare, key, line) for key in ranked),
        tags=tuple(tags),
        changes=tuple(price_changes(snapshot, bare)),
        components=tuple(charged_components(snapshot, bare)),
        comparison=None if earlier is None else _compared(snapshot, bare, earlier),
        unpriced=tuple(unpriced_models(snapshot, bare, _MOST_UNPRICED)),
        dearest={currency: dearest_calls(snapshot, bare, currency, _MOST_ROWS) for currency in currencies},
        traces={currency: dearest_traces(snapshot, bare, currency, _MOST_ROWS) for currency in currencies},
        budgets=tuple(budget_uses(snapshot, bare, limits or {})),
    )


def _statistics(snapshot: Snapshot, question: Question, by_model: Series) -> Statistics:
    """Of the models that charts tell apart."""
    groups = list(dict.fromkeys(group for currency in by_model.currencies for group in by_model.shown(currency)))
    if not groups:
        return {}
    with select(snapshot, narrowed(question, MODEL, groups)) as (connection, where, values):
        found = measured(connection, MODEL, where, values, parse_stats(_STATS))
    return {(key[:-1], str(key[-1])): some for key, some in found.items() if key[-1] is not None}


def _compared(snapshot: Snapshot, question: Question, earlier: tuple[datetime, datetime]) -> LedgerReport:
    """The report by model beside an earlier period; of too many models the totals alone."""
    whole = replace(question, since=min(earlier[0], question.since or earlier[0]))
    few = leading(snapshot, whole, MODEL).all_
    return compare(ask(snapshot, replace(question, by=MODEL if few else ())), *earlier, snapshot)


def _chosen(tags: Sequence[TagCensus]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The tag to draw over time and the one whose dearest values are shown, by how many calls bear them."""
    few = [tag for tag in tags if 1 < tag.values <= _FEW]
    drawn = sorted(few, key=lambda tag: (-tag.calls, tag.values))[:1]
    rest = [tag for tag in tags if tag not in drawn and tag.values > 1][:1]
    return [(f"tag:{tag.name}",) for tag in drawn], [(f"tag:{tag.name}",) for tag in rest]
