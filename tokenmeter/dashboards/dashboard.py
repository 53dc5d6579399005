"""Builds the Grafana dashboard (10.1 and newer) from `panels`, with Grafana's foundation SDK."""

from __future__ import annotations

import itertools
import json
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    VariableOption,
    VariableRefresh,
)

from tokenmeter.dashboards.names import CURRENCY, MODEL, PROVIDER, counter, label, tag
from tokenmeter.dashboards.panels import ANNOTATION, PANELS, Panel
from tokenmeter.otel import semconv

__all__ = ["build"]

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_UNITS: Final = {"USD": "currencyUSD", "EUR": "currencyEUR", "GBP": "currencyGBP", "CNY": "currency:CN¥"}
"""Grafana's unit by the currency at the end of a series' name."""
_Made = TypeVar("_Made", stat.Panel, timeseries.Panel)
_TAG: Final = label(semconv.TAG)


class _PriceChanges(AnnotationQuery):
    """Annotation query of the Prometheus data source, with the fields that the SDK's class lacks."""

    def to_json(self) -> dict[str, object]:
        return {
            **super().to_json(), "titleFormat": "New price", "textFormat": ANNOTATION.legend, "step": "60s",
            "tagKeys": "", "useValueForTime": True,
        }  # fmt: skip


class _Annotation(Builder[AnnotationQuery]):
    def build(self) -> AnnotationQuery:
        return _PriceChanges(ANNOTATION.title, _SOURCE, enable=True, icon_color="orange", expr=ANNOTATION.query)


def build() -> dict[str, Any]:
    """The dashboard as JSON for Grafana's import, which asks for the Prometheus data source."""
    made = (
        dashboard.Dashboard("LLM spend (tokenmeter)")
        .uid("tokenmeter-spend")
        .tags(["llm", "cost", "tokenmeter"])
        .editable()
        .refresh("1m")
        .time("now-24h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_tag_choice())
        .with_variable(_choice("provider", "Vendor", PROVIDER))
        .with_variable(_choice("model", "Model", MODEL))
        .with_variable(_choice("currency", "Currency", CURRENCY, "cost"))
        .annotation(_Annotation())
    )
    ids = itertools.count(1)
    for section in PANELS:
        made.with_row(dashboard.Row(section.title).id(next(ids)))
        for panel in section.panels:
            made.with_panel((_number(panel) if panel.now else _chart(panel)).id(next(ids)))
    answer: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    return answer


def _tag_choice() -> dashboard.QueryVariable:
    """Variable that selects one of the user's tags, by which spend is grouped."""
    return (
        dashboard.QueryVariable("tag")
        .label("Tag")
        .datasource(_SOURCE)
        .query("label_names()")
        .regex(f"/^{_TAG}.+/")
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .current(VariableOption(selected=True, text=tag("team"), value=tag("team")))
    )


def _choice(name: str, title: str, of: str, table: str = "calls") -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(title)
        .datasource(_SOURCE)
        .query(f"label_values({counter(table)}, {of})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _query(panel: Panel) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(panel.query).legend_format(panel.legend).ref_id("A")
    return made.instant() if panel.now else made.range()


def _number(panel: Panel) -> stat.Panel:
    made = stat.Panel().title(panel.title).datasource(_SOURCE).height(4).span(6).with_target(_query(panel))
    made.color_mode(BigValueColorMode.NONE).description(panel.note)
    made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _in_units(made, panel)


def _chart(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).datasource(_SOURCE).height(8).span(12).with_target(_query(panel))
    legend = common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.TABLE)
    made.legend(legend.placement(LegendPlacement.BOTTOM).calcs(["mean", "lastNotNull"])).description(panel.note)
    if panel.unit == "money":
        made.repeat("currency").repeat_direction("h")
    return _in_units(made, panel)


def _in_units(made: _Made, panel: Panel) -> _Made:
    if panel.unit != "money":
        return made.unit(panel.unit)
    for currency, unit in _UNITS.items():
        made.override_by_regexp(f"/(^| ){currency}$/", [DynamicConfigValue(id_val="unit", value=unit)])
    return made
