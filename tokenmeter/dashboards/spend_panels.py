"""Reads the panels over a fleet's database (`spend_panels.toml`), and says them in the words of one engine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

__all__ = [
    "NONE",
    "POSTGRESQL",
    "SqlPanel",
    "SqlSection",
    "SqlVariable",
    "SqlWords",
    "price_changes",
    "sections",
    "variables",
]

NONE: Final = "(none)"
"""What stands for a model or a tag that a call does not have."""
_WORD: Final = re.compile(r"\{(\w+)(?: ([^{}]+))?\}")


class SqlPanel(NamedTuple):
    """One panel; `spend_panels.toml` says what its fields are."""

    title: str
    kind: str
    query: str
    note: str
    units: Mapping[str, str]
    each: bool


class SqlSection(NamedTuple):
    """Panels under a heading."""

    title: str
    panels: tuple[SqlPanel, ...]


class SqlVariable(NamedTuple):
    """What can be chosen, by a query for its values; `several` of them at once."""

    name: str
    title: str
    query: str
    several: bool


@dataclass(frozen=True)
class SqlWords:
    """The words of one engine, and the type of Grafana's data source. `{}` is where what follows a word stands."""

    source: str
    words: Mapping[str, str]

    def say(self, query: str) -> str:
        """A query of the table, with the words of this engine and the conditions that queries share."""
        while (said := _WORD.sub(self._word, query)) != query:
            query = said
        return query.strip()

    def _word(self, found: re.Match[str]) -> str:
        text: str
        rest: str | None
        text, rest = self.words.get(found[1]) or _SHARED[found[1]], found[2]
        if rest is None:
            return text
        if text.count("{}") == 2:
            return text.format(*rest.split(" ", 1))
        return text.format("{" + rest + "}" if rest.partition(" ")[0] in self.words else rest)


_SHARED: Final = {
    "chosen": "$__timeFilter(ended_at) AND end_state <> 'delegated' AND {model} IN (${model:sqlstring})",
    "priced": "{chosen} AND amount IS NOT NULL AND currency IN (${currency:sqlstring})",
    "model": f"coalesce(model, '{NONE}')",
}
POSTGRESQL: Final = SqlWords("grafana-postgresql-datasource", {
    "calls": "tokenmeter.calls",
    "dims": "tokenmeter.dims",
    "losses": "tokenmeter.losses",
    "tag_names": "SELECT jsonb_object_keys(tags) FROM tokenmeter.tagsets "
                 "UNION SELECT name FROM tokenmeter.row_tags ORDER BY 1",
    "tag": f"coalesce(tags ->> ${{tag:sqlstring}}, '{NONE}')",
    "day": "(day::timestamp AT TIME ZONE (SELECT value FROM tokenmeter.settings WHERE name = 'zone'))",
    "charged": """(
    SELECT c.ended_at, d.end_state, d.provider, d.model, d.currency, d.effective_from, s.component, s.per, s.rate,
           coalesce((c.charge_values::json ->> s.place)::numeric, c.amount, c.amount_text::numeric) AS amount
    FROM tokenmeter.call_rows AS c JOIN tokenmeter.dims AS d ON d.id = c.dims LEFT JOIN (
        -- A shape is read once: with the numbers of its holes in them, it says in which hole each amount stands.
        SELECT id, charge ->> 'component' AS component, charge ->> 'per' AS per, (charge ->> 'rate')::numeric AS rate,
               (charge ->> 'amount')::integer AS place
        FROM tokenmeter.texts CROSS JOIN LATERAL json_array_elements(tokenmeter.restored(
            text, (SELECT json_agg(n) FROM generate_series(0, json_array_length(text::json) - 2) AS n)::text
        )::json) AS charge
        WHERE id IN (SELECT charge_shape FROM tokenmeter.call_rows WHERE $__timeFilter(ended_at))
    ) AS s ON s.id = c.charge_shape
) AS charged""",
    "text": "trim_scale({})::text",
    "instant": "({}::timestamptz)",
    "micros": "(extract(epoch FROM {}::timestamptz) * 1000000)",
    "percentile": "percentile_disc({}) WITHIN GROUP (ORDER BY {})",
    "joined": "string_agg({}, ', ' ORDER BY component)",
    "scope": "(SELECT string_agg(part, ' / ' ORDER BY place) FROM json_array_elements_text(scope::json) "
             "WITH ORDINALITY AS s (part, place))",
})  # fmt: skip


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads((files("tokenmeter.dashboards") / "spend_panels.toml").read_text(encoding="utf-8"))


def variables(engine: SqlWords) -> tuple[SqlVariable, ...]:
    """What can be chosen on the dashboard, beside the data source."""
    return tuple(
        SqlVariable(one["name"], one["title"], engine.say(one["query"]), one.get("several", False))
        for one in _table()["variable"]
    )


def sections(engine: SqlWords) -> tuple[SqlSection, ...]:
    """The panels, in the order of the screen."""
    return tuple(
        SqlSection(
            section["title"],
            tuple(
                SqlPanel(
                    one["title"], one["kind"], engine.say(one["query"]), one.get("note", ""), one.get("units", {}),
                    one.get("each", False),
                )
                for one in section["panel"]
            ),
        )
        for section in _table()["section"]
    )  # fmt: skip


def price_changes(engine: SqlWords) -> SqlPanel:
    """The annotation of price changes."""
    one = _table()["annotation"]
    return SqlPanel(one["title"], "annotation", engine.say(one["query"]), "", {}, False)
