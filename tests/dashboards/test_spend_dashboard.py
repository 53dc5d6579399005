"""The dashboard over a ledger: every panel is in the file, none on another, and every variable is defined."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tokenmeter.dashboards.spend_panels import POSTGRESQL, price_changes, sections


@pytest.fixture(scope="module")
def dashboard() -> Any:
    pytest.importorskip("grafana_foundation_sdk", reason="the dashboard is built with the extra `views`")
    from tokenmeter.dashboards.spend_dashboard import build

    return build(POSTGRESQL)


PANELS = [panel for section in sections(POSTGRESQL) for panel in section.panels]
TYPES = {"number": "stat", "bars": "timeseries", "table": "table", "points": "xychart"}


def test_every_panel_is_there_once_and_none_lies_on_another(dashboard: Any) -> None:
    panels = [one for one in dashboard["panels"] if one["type"] != "row"]
    assert [(one["title"], one["type"]) for one in panels] == [(panel.title, TYPES[panel.kind]) for panel in PANELS]
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


def test_every_query_is_the_tables_in_the_form_of_its_panel(dashboard: Any) -> None:
    panels = [one for one in dashboard["panels"] if one["type"] != "row"]
    source = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
    for one, panel in zip(panels, PANELS, strict=True):
        (target,) = one["targets"]
        assert target == {
            "refId": "A", "datasource": source, "rawSql": panel.query, "rawQuery": True, "editorMode": "code",
            "format": "time_series" if panel.kind == "bars" else "table",
        }  # fmt: skip
        assert (one.get("repeat") == "currency") == panel.each
    (annotation,) = dashboard["annotations"]["list"]
    assert annotation["target"]["rawSql"] == price_changes(POSTGRESQL).query
    assert annotation["datasource"] == source


def test_every_variable_that_is_used_is_defined(dashboard: Any) -> None:
    defined = {one["name"] for one in dashboard["templating"]["list"]}
    text = json.dumps([dashboard["panels"], dashboard["annotations"]])
    assert set(re.findall(r"\$\{?([a-z]\w*)", text)) == defined
    assert set(re.findall(r"\$__(\w+)", text)) == {"timeFilter", "timeFrom", "timeTo"}


def test_a_panel_of_money_is_drawn_for_each_currency_or_has_rows_of_them(dashboard: Any) -> None:
    for one in dashboard["panels"]:
        for target in one.get("targets", ()):
            if "sum(amount)" in target["rawSql"]:
                assert "$currency" in one["title"] or one["title"] == "Spend"
