"""The dashboard over a ledger: every panel is in the file, none on another, and every variable is defined."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tokenmeter.dashboards.spend_panels import ENGINES, SqlPanel, SqlWords, price_changes, sections


@pytest.fixture(scope="module", params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def engine(name: str) -> SqlWords:
    return ENGINES[name]


@pytest.fixture(scope="module")
def dashboard(engine: SqlWords) -> Any:
    pytest.importorskip("grafana_foundation_sdk", reason="the dashboard is built with the extra `views`")
    from tokenmeter.dashboards.spend_dashboard import build

    return build(engine)


def panels_of(engine: SqlWords) -> list[SqlPanel]:
    return [panel for section in sections(engine) for panel in section.panels]


MACROS = {
    "postgresql": {"timeFilter", "timeFrom", "timeTo"},
    "clickhouse": {"timeFilter", "fromTime", "toTime"},
}
# As the data sources save a query; ClickHouse's from its version 4:
# https://github.com/grafana/clickhouse-datasource (src/types/sql.ts, src/data/utils.ts, src/data/migration.ts).
FORMS: dict[str, dict[str, dict[str, object]]] = {
    "postgresql": {
        "bars": {"format": "time_series", "rawQuery": True, "editorMode": "code"},
        "table": {"format": "table", "rawQuery": True, "editorMode": "code"},
    },
    "clickhouse": {
        "bars": {"format": 0, "queryType": "timeseries", "editorType": "sql", "pluginVersion": "4.0.0"},
        "table": {"format": 1, "queryType": "table", "editorType": "sql", "pluginVersion": "4.0.0"},
    },
}
TYPES = {"number": "stat", "bars": "timeseries", "table": "table", "points": "xychart"}


def test_every_panel_is_there_once_and_none_lies_on_another(engine: SqlWords, dashboard: Any) -> None:
    panels = [one for one in dashboard["panels"] if one["type"] != "row"]
    assert [(one["title"], one["type"]) for one in panels] == [
        (panel.title, TYPES[panel.kind]) for panel in panels_of(engine)
    ]
    assert len({one["id"] for one in dashboard["panels"]}) == len(dashboard["panels"])
    cells = [
        (x, y)
        for one in dashboard["panels"]
        for place in [one["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_every_query_is_the_tables_in_the_form_of_its_panel(name: str, engine: SqlWords, dashboard: Any) -> None:
    panels = [one for one in dashboard["panels"] if one["type"] != "row"]
    source = {"type": f"grafana-{name}-datasource", "uid": "${datasource}"}
    common = {"refId": "A", "datasource": source}
    for one, panel in zip(panels, panels_of(engine), strict=True):
        (target,) = one["targets"]
        form = FORMS[name]["bars" if panel.kind == "bars" else "table"]
        assert target == {**common, **form, "rawSql": panel.query}
        assert (one.get("repeat") == "currency") == panel.each
    (annotation,) = dashboard["annotations"]["list"]
    assert annotation["target"] == {**common, **FORMS[name]["table"], "rawSql": price_changes(engine).query}
    assert annotation["datasource"] == source


def test_the_dashboards_of_two_engines_may_be_in_one_grafana() -> None:
    assert len({engine.uid for engine in ENGINES.values()}) == len({engine.title for engine in ENGINES.values()}) == 2


def test_every_variable_that_is_used_is_defined(name: str, dashboard: Any) -> None:
    defined = {one["name"] for one in dashboard["templating"]["list"]}
    text = json.dumps([dashboard["panels"], dashboard["annotations"]])
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) == defined
    assert set(re.findall(r"\$__(\w+)", text)) == MACROS[name]


def test_a_panel_of_money_is_drawn_for_each_currency_or_has_rows_of_them(dashboard: Any) -> None:
    for one in dashboard["panels"]:
        for target in one.get("targets", ()):
            if "sum(amount)" in target["rawSql"]:
                assert "$currency" in one["title"] or one["title"] == "Spend"
