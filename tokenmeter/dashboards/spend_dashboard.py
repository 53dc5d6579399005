"""Builds the Grafana dashboard (10.3 and newer) over a fleet's database from `spend_panels`."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, stat, table, timeseries, xychart
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
)
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.xychart import SeriesMapping

from tokenmeter.dashboards.spend_panels import SqlPanel, SqlVariable, SqlWords, price_changes, sections, variables

__all__ = ["build"]

_Panel = stat.Panel | timeseries.Panel | table.Panel | xychart.Panel
_Made = TypeVar("_Made", stat.Panel, timeseries.Panel, table.Panel, xychart.Panel)
_DECIMALS: Final = 6
_UID: Final = "${datasource}"


class _Query(Builder[variants.Dataquery], variants.Dataquery):
    """A query of Grafana's SQL data sources, which the SDK has no class for."""

    def __init__(self, source: DataSourceRef, sql: str, form: Mapping[str, object]) -> None:
        self._source, self._sql, self._form = source, sql, form

    def build(self) -> variants.Dataquery:
        return self

    def to_json(self) -> dict[str, object]:
        return {"refId": "A", "datasource": self._source, **self._form, "rawSql": self._sql}


class _Annotated(AnnotationQuery):
    """An annotation of a SQL data source: rows of time, title, text and tags."""

    query: _Query

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "target": self.query.to_json()}


class _Annotation(Builder[AnnotationQuery]):
    def __init__(self, engine: SqlWords, source: DataSourceRef, panel: SqlPanel) -> None:
        self._made = _Annotated(panel.title, source, enable=True, icon_color="orange")
        self._made.query = _Query(source, panel.query, engine.forms["table"])

    def build(self) -> AnnotationQuery:
        return self._made


def build(engine: SqlWords) -> dict[str, Any]:
    """The dashboard as JSON for Grafana's import, which asks for the data source."""
    source = DataSourceRef(type_val=engine.source, uid=_UID)
    made = (
        dashboard.Dashboard(engine.title)
        .uid(engine.uid)
        .tags(["llm", "cost", "tokenmeter"])
        .editable()
        .time("now-30d", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type(engine.source))
        .annotation(_Annotation(engine, source, price_changes(engine)))
    )
    for variable in variables(engine):
        made.with_variable(_choice(source, variable))
    ids = itertools.count(1)
    for section in sections(engine):
        made.with_row(dashboard.Row(section.title).id(next(ids)))
        for panel in section.panels:
            made.with_panel(_panel(engine, source, panel).id(next(ids)))
    answer: dict[str, Any] = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    return answer


def _choice(source: DataSourceRef, variable: SqlVariable) -> dashboard.QueryVariable:
    made = dashboard.QueryVariable(variable.name).label(variable.title).datasource(source).query(variable.query)
    made.refresh(VariableRefresh.ON_DASHBOARD_LOAD)
    if not variable.several:
        return made.current(VariableOption(selected=True, text="team", value="team"))
    made.multi(True).include_all(True)
    return made.current(VariableOption(selected=True, text="All", value="$__all"))


def _panel(engine: SqlWords, source: DataSourceRef, panel: SqlPanel) -> _Panel:
    query = _Query(source, panel.query, engine.forms["time_series" if panel.kind == "bars" else "table"])
    if panel.kind == "number":
        return _number(_common(stat.Panel(), source, panel, query))
    if panel.kind == "bars":
        return _bars(_common(timeseries.Panel(), source, panel, query))
    if panel.kind == "points":
        points = _common(xychart.Panel(), source, panel, query).series_mapping(SeriesMapping.AUTO)
        return points.dims(xychart.XYDimensionConfig().frame(0).x("seconds").exclude(["seconds_p95", "cost_p95"]))
    return _common(table.Panel(), source, panel, query).decimals(_DECIMALS)


def _common(made: _Made, source: DataSourceRef, panel: SqlPanel, query: _Query) -> _Made:
    made.title(panel.title).description(panel.note).datasource(source).with_target(query)
    small = panel.kind == "number"
    made.height(4 if small else 8).span(6 if small else 12)
    if panel.each:
        made.repeat("currency").repeat_direction("h")
    for column, unit in panel.units.items():
        made.override_by_name(column, [DynamicConfigValue(id_val="unit", value=unit)])
    return made


def _number(made: stat.Panel) -> stat.Panel:
    made.color_mode(BigValueColorMode.NONE).decimals(_DECIMALS)
    return made.reduce_options(common.ReduceDataOptions().values(True).calcs(["lastNotNull"]))


def _bars(made: timeseries.Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.TABLE)
    made.legend(legend.placement(LegendPlacement.BOTTOM).calcs(["sum"])).draw_style(GraphDrawStyle.BARS)
    made.fill_opacity(80).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    return made.decimals(_DECIMALS)
