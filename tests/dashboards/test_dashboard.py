"""The dashboard: what the files for people without Python hold, and that what Grafana needs is in it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.dashboards import ANNOTATION, PANELS
from tokenmeter.dashboards.__main__ import main

DOCS = Path(__file__).parents[2] / "docs"
WRITTEN = {
    "grafana/tokenmeter.json": ["dashboard"],
    "grafana/tokenmeter-ledger.json": ["ledger"],
    "grafana/tokenmeter-ledger-clickhouse.json": ["ledger", "--engine", "clickhouse"],
    "prometheus/tokenmeter.rules.yml": ["rules", "--limit", "*=100:USD", "--limit", "*=700:CNY"],
}


@pytest.fixture(scope="module")
def dashboard() -> Any:
    pytest.importorskip("grafana_foundation_sdk", reason="the dashboard is built with the extra `views`")
    from tokenmeter.dashboards.dashboard import build

    return build()


@pytest.mark.parametrize(("file", "command"), WRITTEN.items(), ids=WRITTEN)
def test_the_files_in_docs_are_what_the_commands_write(
    file: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """If not: `python -m tokenmeter.dashboards dashboard > docs/grafana/tokenmeter.json`, and so on."""
    if command[0] in ("dashboard", "ledger"):
        pytest.importorskip("grafana_foundation_sdk", reason="the dashboard is built with the extra `views`")
    assert main(command) == 0
    assert (DOCS / file).read_text(encoding="utf-8") == capsys.readouterr().out


def test_every_panel_is_there_once_and_none_lies_on_another(dashboard: Any) -> None:
    panels = dashboard["panels"]
    assert [one["title"] for one in panels if one["type"] != "row"] == [
        panel.title for section in PANELS for panel in section.panels
    ]
    assert len({one["id"] for one in panels}) == len(panels)
    cells = [
        (x, y)
        for one in panels
        for place in [one["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


def test_every_variable_that_is_used_is_defined(dashboard: Any) -> None:
    defined = {one["name"] for one in dashboard["templating"]["list"]}
    text = json.dumps([dashboard["panels"], dashboard["annotations"]])
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))
    assert used == defined


def test_price_changes_are_drawn_where_they_happened(dashboard: Any) -> None:
    (annotation,) = dashboard["annotations"]["list"]
    assert annotation["expr"] == ANNOTATION.query
    assert annotation["useValueForTime"] is True
    assert annotation["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_amounts_are_shown_in_the_currency_at_the_end_of_a_series_name(dashboard: Any) -> None:
    spend = next(one for one in dashboard["panels"] if one["title"] == "$currency per hour by vendor")
    units = {
        name: override["properties"][0]["value"]
        for name in ("deepseek CNY", "openai USD", "USD")
        for override in spend["fieldConfig"]["overrides"]
        if re.search(override["matcher"]["options"].strip("/"), name)
    }
    assert units == {"deepseek CNY": "currency:CN¥", "openai USD": "currencyUSD", "USD": "currencyUSD"}


def test_a_chart_of_money_is_drawn_for_each_currency_apart(dashboard: Any) -> None:
    charts = [one for one in dashboard["panels"] if one["type"] == "timeseries" and "$currency" in one["title"]]
    assert len(charts) == 4
    for chart in charts:
        assert (chart["repeat"], chart["repeatDirection"]) == ("currency", "h")
        queries = [target["expr"] for target in chart["targets"]]
        assert all(expr.count("rate(") == expr.count('tokenmeter_cost_currency=~"$currency"') for expr in queries)
    others = [one for one in dashboard["panels"] if one["type"] == "timeseries" and one not in charts]
    assert not any("cost_total" in target["expr"] for one in others for target in one["targets"])


@pytest.mark.parametrize(("file", "command"), list(WRITTEN.items())[:3])
def test_without_grafanas_sdk_the_command_says_what_to_do(file: str, command: list[str]) -> None:
    hidden = "import sys; sys.modules['grafana_foundation_sdk'] = None; "
    run = f"from tokenmeter.dashboards.__main__ import main; main({command})"
    done = subprocess.run([sys.executable, "-c", hidden + run], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'tokenmeter-sdk[views]'" in done.stderr
    assert f"docs/{file} from the repository" in " ".join(done.stderr.split())
