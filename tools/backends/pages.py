"""Pictures of the pages where each backend shows spend; a page that does not show it is a failure.

The expression that must be in a page's text is the reason to look at it: a cost, and not only a heading.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import readers
from browser import browser
from servers import NotHere, Server

MOST_BYTES: Final = 200_000
# Samples are floats: ten decimals are shown, as in docs/backends/prometheus.md. 1e-9 would not do: it divides by
# its reciprocal, which in floats is 999999999.9999999.
_SPEND: Final = "round(sum by (tokenmeter_provider, tokenmeter_cost_currency) (tokenmeter_cost_total), 1e-10)"
_YUAN: Final = 'sum by (tokenmeter_provider) (tokenmeter_cost_total{tokenmeter_cost_currency="CNY"})'


class View(NamedTuple):
    """A page: its picture's name, its address, what must be in its text, and how it is brought into view."""

    name: str
    url: str
    shows: str
    script: str | None = None
    click: str | None = None
    size: tuple[int, int] = (1280, 760)


def of_metrics(there: Mapping[str, Server], pictures: Path, folder: Path) -> bool:
    """While the program is scraped: Prometheus. Debian's VictoriaMetrics is built without its page."""
    views = []
    if "Prometheus" in there:
        query = urllib.parse.urlencode({"g0.expr": _YUAN, "g0.tab": "0", "g0.range_input": "1m", "g0.stacked": "1"})
        shows = r"tokenmeter_provider=\"zhipu\".*tokenmeter_provider=\"deepseek\""
        views.append(View("prometheus", f"{there['Prometheus'].origin}/graph?{query}", shows, size=(1280, 900)))
        query = urllib.parse.urlencode({"g0.expr": _SPEND, "g0.tab": "1"})
        shows = r"tokenmeter_provider=\"openai\"\}\s+0\.0\d+"
        views.append(View("prometheus-table", f"{there['Prometheus'].origin}/graph?{query}", shows, size=(1280, 700)))
    return _look(views, pictures, folder)


def of_traces(there: Mapping[str, Server], pictures: Path, folder: Path, *, project: str, experiment: str) -> bool:
    """Phoenix and MLflow, with the calls of these names."""
    views = []
    if (phoenix := there.get("Phoenix")) is not None:
        found = readers.phoenix_project(phoenix, project)
        trace = _agents_trace(phoenix, found)
        root = f"{phoenix.origin}/projects/{found}"
        shows = r"Total Cost\s+\$0\.\d+.*chat qwen-max\s.*\$0\.0"
        views.append(View("phoenix-trace", f"{root}/traces/{trace}", shows, size=(1500, 720)))
        views.append(
            View(
                "phoenix-models",
                f"{phoenix.origin}/settings/models",
                r"by tokenmeter, CNY/USD 0\.14.*\$\d",
                size=(1500, 720),
            )
        )
    if (mlflow := there.get("MLflow")) is not None:
        number = readers.mlflow_experiment_id(mlflow, experiment)
        root = f"{mlflow.origin}/#/experiments/{number}"
        into_view = (
            "[...document.querySelectorAll('h1,h2,h3,h4,span,div')].filter(one => /^Cost/.test(one.innerText)).pop()"
            "?.scrollIntoView({block: 'start'})"
        )
        shows = r"Cost[^$]*\$\d\.\d+"
        views.append(View("mlflow-overview", f"{root}/overview/usage", shows, into_view, "Got it", (1200, 1000)))
    return _look(views, pictures, folder)


def _agents_trace(phoenix: Server, project: str | None) -> str:
    query = """query ($id: ID!) { node(id: $id) { ... on Project { spans(first: 200) { edges { node {
        spanKind trace { traceId } } } } } } }"""
    spans = readers.graphql(phoenix, query, id=project)["node"]["spans"]["edges"]
    return next(str(span["node"]["trace"]["traceId"]) for span in spans if span["node"]["spanKind"] == "agent")


def _look(views: Iterable[View], pictures: Path, folder: Path) -> bool:
    """Open each page and take its picture; whether all show what they should."""
    pictures.mkdir(parents=True, exist_ok=True)
    good = True
    with contextlib.ExitStack() as stack:
        try:
            page = stack.enter_context(browser(folder))
        except NotHere as reason:
            print(f"pages: not opened: {reason}", flush=True)
            return True
        for view in views:
            page.open(view.url, *view.size)
            found = page.wait(view.shows, view.click)
            if view.script is not None:
                page.run(view.script)
            path = pictures / f"{view.name}.png"
            page.picture(path)
            size = path.stat().st_size
            said = "nothing that matches !!" if found is None else repr(" ".join(found.split())[-60:])
            print(f"page {view.name}: {said}, {size // 1000} kB", flush=True)
            good = good and found is not None and size < MOST_BYTES
    return good
