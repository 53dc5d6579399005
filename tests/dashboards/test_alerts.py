"""The rules: what promtool says of them, and the alerts they give for series that are written down."""

from __future__ import annotations

import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.metrics_stack import tool
from tokenmeter.dashboards import ALERTS, ANNOTATION, PANELS, RECORDED, Limit, rules
from tokenmeter.dashboards.__main__ import main
from tokenmeter.dashboards.alerts import limit_of
from tokenmeter.dashboards.plain_yaml import to_yaml
from tokenmeter.otel import semconv

CASES = sorted(Path(__file__).parent.glob("*.test.yml"))
LIMITS = (Limit("search", Decimal(20), "USD"), Limit("*", Decimal(100), "CNY"))


def promtool(folder: Path, *command: str) -> None:
    done = subprocess.run([tool("promtool"), *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("by", ["team", "cost-center"])
@pytest.mark.parametrize("window", ["1h", "10s", "1d"])
def test_promtool_accepts_the_rules(tmp_path: Path, window: str, by: str) -> None:
    (tmp_path / "rules.yml").write_text(to_yaml(rules(LIMITS, window=window, by=by)), encoding="utf-8")
    promtool(tmp_path, "check", "rules", "rules.yml")


def test_victoriametrics_accepts_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(to_yaml(rules(LIMITS)), encoding="utf-8")
    command = [tool("vmalert"), "-dryRun", f"-rule={tmp_path / 'rules.yml'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name)
def test_alerts_fire_for_what_they_should_and_for_nothing_else(tmp_path: Path, file: Path) -> None:
    (tmp_path / "rules.yml").write_text(to_yaml(rules(LIMITS)), encoding="utf-8")
    shutil.copy(file, tmp_path)
    promtool(tmp_path, "test", "rules", file.name)


def test_every_alert_has_a_test() -> None:
    tested = {name for file in CASES for name in re.findall(r"alertname: (\w+)", file.read_text(encoding="utf-8"))}
    (group,) = rules(LIMITS)["groups"]
    assert tested == {rule["alert"] for rule in group["rules"] if "alert" in rule}


def test_queries_name_metrics_that_exist() -> None:
    def name(one: str) -> str:
        return one.replace(".", "_")

    known = {f"{name(one)}_total" for one, *_ in semconv.COUNTERS.values()}
    known |= {f"{name(one)}_seconds_bucket" for one, unit, *_ in semconv.HISTOGRAMS.values() if unit == "s"}
    known |= {f"{name(semconv.PRICE_FROM[0])}_seconds", f"{name(semconv.BUDGET_REFUSED)}_total"}
    known |= {f"{name(one)}_total" for one, *_ in semconv.LEDGER_COUNTERS.values()}
    known |= {f"{name(one)}_seconds" for one, unit, _ in semconv.LEDGER_GAUGES.values() if unit == "s"}
    panels = [panel for section in PANELS for panel in section.panels]
    texts = [one.query for one in (*panels, ANNOTATION, *RECORDED, *ALERTS)]
    used = {
        found for text in texts for found in re.findall(r"\b(?:tokenmeter|gen_ai)_\w+_(?:total|bucket|seconds)\b", text)
    }
    assert used
    assert used <= known


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        pytest.param("search=20.5:USD", Limit("search", Decimal("20.5"), "USD"), id="a team"),
        pytest.param("*=700:CNY", Limit("*", Decimal(700), "CNY"), id="each team"),
        pytest.param("搜索=1:CNY", Limit("搜索", Decimal(1), "CNY"), id="in any script"),
    ],
)
def test_a_limit_is_read(text: str, limit: Limit) -> None:
    assert limit_of(text) == limit


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--limit", "search=20"], "write team=amount:currency", id="no currency"),
        pytest.param(["--limit", "search=1.2.3:USD"], "not an amount", id="no amount"),
        pytest.param(["--window", "an hour"], "not a window such as 1h", id="no window"),
    ],
)
def test_a_wrong_flag_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as bad:
        main(["rules", *arguments])
    assert bad.value.code == 2
    assert words in capsys.readouterr().err
