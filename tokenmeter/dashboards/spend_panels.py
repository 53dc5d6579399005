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
    "CLICKHOUSE",
    "ENGINES",
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
    """The words of one engine, and its names in Grafana. What follows a word stands in its `{}`, or `{0}` and `{1}`."""

    title: str
    """The title of the dashboard."""
    uid: str
    """The dashboard's id in Grafana, and the name of its file."""
    source: str
    """The type of the data source."""
    forms: Mapping[str, Mapping[str, object]]
    """What a query of the data source has beside its SQL, where rows are a `table` or a `time_series`."""
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
        if "{1}" in text:
            return text.format(*rest.split(" ", 1))
        return text.format("{" + rest + "}" if rest.partition(" ")[0] in self.words else rest)


_SHARED: Final = {
    "chosen": "$__timeFilter(ended_at) AND end_state <> 'delegated' AND {model} IN (${model:sqlstring})",
    "priced": "{chosen} AND amount IS NOT NULL AND currency IN (${currency:sqlstring})",
    "model": f"coalesce(model, '{NONE}')",
}
POSTGRESQL: Final = SqlWords(
    "LLM spend in the ledger (tokenmeter)", "tokenmeter-ledger", "grafana-postgresql-datasource",
    {form: {"format": form, "rawQuery": True, "editorMode": "code"} for form in ("table", "time_series")},
    {
    "calls": "tokenmeter.calls",
    "dims": "tokenmeter.dims",
    "choice": "{}",
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
    "from": "$__timeFrom()",
    "to": "$__timeTo()",
    "share": "sum(amount) / nullif(sum(sum(amount)) OVER (PARTITION BY currency), 0)",
    "text": "trim_scale({})::text",
    "instant": "({}::timestamptz)",
    "micros": "(extract(epoch FROM {}::timestamptz) * 1000000)",
    "percentile": "percentile_disc({0}) WITHIN GROUP (ORDER BY {1})",
    "joined": "string_agg({}, ', ' ORDER BY component)",
    "scope": "(SELECT string_agg(part, ' / ' ORDER BY place) FROM json_array_elements_text(scope::json) "
             "WITH ORDINALITY AS s (part, place))",
})  # fmt: skip
CLICKHOUSE: Final = SqlWords(
    "LLM spend in the ledger in ClickHouse (tokenmeter)", "tokenmeter-ledger-clickhouse",
    "grafana-clickhouse-datasource",
    {
        "table": {"pluginVersion": "4.0.0", "editorType": "sql", "queryType": "table", "format": 1},
        "time_series": {"pluginVersion": "4.0.0", "editorType": "sql", "queryType": "timeseries", "format": 0},
    },
    {
    "calls": "calls",
    "dims": "call_rows",
    # Grafana puts a choice between quotes and doubles those in it. A backslash in it is an escape here, unless doubled.
    "choice": r"replaceAll({}, '\\', '\\\\')",
    "losses": "losses FINAL",
    "tag_names": "SELECT DISTINCT {choice arrayJoin(mapKeys(tags))} AS name FROM call_rows ORDER BY name",
    "tag": f"if(mapContains(tags, ${{tag:sqlstring}}), tags[${{tag:sqlstring}}], '{NONE}')",
    "day": "toDateTime64(toString(day), 0, (SELECT any(value) FROM settings FINAL WHERE name = 'zone'))",
    "charged": """(
    SELECT c.ended_at AS ended_at, c.end_state AS end_state, c.provider AS provider, c.model AS model,
           c.currency AS currency, c.effective_from AS effective_from,
           nullIf(JSONExtractString(charge, 'component'), '') AS component,
           nullIf(JSONExtractString(charge, 'per'), '') AS per, {number rate} AS rate,
           coalesce({number amount}, c.amount) AS amount
    FROM calls AS c LEFT ARRAY JOIN JSONExtractArrayRaw(ifNull(c.charges, '[]')) AS charge
    WHERE $__timeFilter(ended_at)
) AS charged""",
    "number": "toDecimal256OrNull(trim(BOTH '\"' FROM JSONExtractRaw(charge, '{}')), 38)",
    "from": "$__fromTime",
    "to": "$__toTime",
    # The quotient of two decimals has more digits than a decimal holds.
    "share": "toFloat64(sum(amount)) / nullif(toFloat64(sum(sum(amount)) OVER (PARTITION BY currency)), 0)",
    "text": "toString({})",
    "instant": "parseDateTime64BestEffortOrNull({}, 6, 'UTC')",
    "micros": "(toUnixTimestamp({}) * 1000000)",
    "percentile": "arrayElementOrNull(arraySort(groupArray({1})), toUInt64(ceil(toDecimal64('{0}', 4) * count({1}))))",
    "joined": "arrayStringConcat(arraySort(groupArray({})), ', ')",
    "scope": "if(isNull(scope), NULL, arrayStringConcat(JSONExtract(ifNull(scope, '[]'), 'Array(String)'), ' / '))",
})  # fmt: skip
ENGINES: Final = {"postgresql": POSTGRESQL, "clickhouse": CLICKHOUSE}


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
