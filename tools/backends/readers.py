"""What each backend shows of the calls, asked by its own API, in one shape.

Tokens are inclusive totals under `input` and `output`, with `cache_read` and `cache_write` inside the input where the
backend tells them apart; what it does not show is not there. A cost that it does not show is None.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from servers import Server

SECONDS: Final = 120
_STILL: Final = 12
HERE: Final = Path(__file__).resolve().parent
_SPANS: Final = """query ($project: ID!, $after: String) { node(id: $project) { ... on Project {
  costSummary { total { cost tokens } }
  spans(first: 200, after: $after) { pageInfo { hasNextPage endCursor } edges { node {
    spanId tokenCountPrompt tokenCountCompletion costSummary { total { cost } }
    costDetailSummaryEntries { tokenType isPrompt value { tokens } } } } } } } }"""


class Shown(NamedTuple):
    """What a backend shows of one call."""

    tokens: Mapping[str, int]
    cost: float | None


class Read(NamedTuple):
    """What a backend shows of every call, by the key it was asked with, and the sum that it makes itself."""

    calls: Mapping[str, Shown]
    total: Mapping[str, float]


def until(ask: Callable[[], Any], enough: Callable[[Any], bool]) -> Any:
    """The answer, once it is enough; the last one after two minutes, for the table to say what is missing."""
    deadline = time.monotonic() + SECONDS
    while True:
        answer = ask()
        if enough(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def _tokens(**numbers: float | None) -> dict[str, int]:
    """Numbers that are there; a part that is nothing is as good as none."""
    return {name: int(value) for name, value in numbers.items() if value}


# Phoenix --------------------------------------------------------------------------------------------------------


def graphql(server: Server, query: str, **variables: Any) -> Any:
    """Phoenix's answer to a query."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(f"{server.origin}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def phoenix_project(server: Server, project: str) -> str | None:
    """A project's id."""
    edges = graphql(server, "{ projects { edges { node { id name } } } }")["projects"]["edges"]
    return next((edge["node"]["id"] for edge in edges if edge["node"]["name"] == project), None)


def phoenix(server: Server, project: str, wanted: Collection[str]) -> Read:
    """The spans of a project, when those wanted are there and the prices have been worked out."""
    seen: list[Any] = []

    def ask() -> Read:
        found = phoenix_project(server, project)
        nodes: list[Any] = []
        after, total = None, None
        while found is not None:
            node = graphql(server, _SPANS, project=found, after=after)["node"]
            nodes += [edge["node"] for edge in node["spans"]["edges"]]
            after, total = node["spans"]["pageInfo"]["endCursor"], node["costSummary"]["total"]["cost"]
            if not node["spans"]["pageInfo"]["hasNextPage"]:
                break
        calls = {node["spanId"]: _phoenix_span(node) for node in nodes}
        return Read(calls, {"USD": total or 0.0})

    def enough(read: Read) -> bool:
        # Costs come a little after their spans: enough is what does not change any more.
        seen.append(read)
        return read.calls.keys() >= set(wanted) and len(seen) > _STILL and seen[-1] == seen[-_STILL]

    answer: Read = until(ask, enough)
    return answer


def _phoenix_span(node: Mapping[str, Any]) -> Shown:
    parts = {
        entry["tokenType"]: entry["value"]["tokens"]
        for entry in node["costDetailSummaryEntries"] or ()
        if entry["isPrompt"] and entry["tokenType"].startswith("cache_")
    }
    cost = ((node["costSummary"] or {}).get("total") or {}).get("cost")
    return Shown(_tokens(input=node["tokenCountPrompt"], output=node["tokenCountCompletion"], **parts), cost)


# MLflow ---------------------------------------------------------------------------------------------------------


def mlflow(server: Server, experiment: str, wanted: Collection[str]) -> Read:
    """The spans of an experiment when those wanted are there, read by MLflow's client in MLflow's environment."""
    command = [str(server.extra["python"]), str(HERE / "read_mlflow.py"), server.origin, experiment]

    def ask() -> list[Any]:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def enough(traces: list[Any]) -> bool:
        return {span["span_id"] for trace in traces for span in trace["spans"]} >= set(wanted)

    traces = until(ask, enough)
    calls = {span["span_id"]: _mlflow_span(span) for trace in traces for span in trace["spans"]}
    return Read(calls, {"USD": sum((trace["cost"] or {}).get("total_cost", 0.0) for trace in traces)})


def mlflow_experiment(server: Server, name: str) -> str:
    """The id of a new experiment."""
    body = json.dumps({"name": name}).encode()
    url = f"{server.origin}/api/2.0/mlflow/experiments/create"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
        return str(json.load(answer)["experiment_id"])


def mlflow_experiment_id(server: Server, name: str) -> str:
    """The id of an experiment that is there."""
    url = f"/api/2.0/mlflow/experiments/get-by-name?{urllib.parse.urlencode({'experiment_name': name})}"
    return str(json.loads(server.get(url))["experiment"]["experiment_id"])


def _mlflow_span(span: Mapping[str, Any]) -> Shown:
    tokens, cost = span["tokens"] or {}, span["cost"] or {}
    return Shown(
        _tokens(
            input=tokens.get("input_tokens"), output=tokens.get("output_tokens"),
            cache_read=tokens.get("cache_read_input_tokens"), cache_write=tokens.get("cache_creation_input_tokens"),
        ),
        cost.get("total_cost"),
    )  # fmt: skip


# Prometheus and VictoriaMetrics -----------------------------------------------------------------------------------

_CALL: Final = "tokenmeter_tag_call"
_SIDE: Final = {"cache_read": "input", "cache_write": "input", "input": "input", "output": "output"}


def promql(server: Server, query: str) -> list[tuple[dict[str, str], float]]:
    """The answer to an instant query: labels and value of each series."""
    url = f"/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    result = json.loads(server.get(url))["data"]["result"]
    return [(one["metric"], float(one["value"][1])) for one in result]


def metrics(server: Server, wanted: Collection[str]) -> Read:
    """Sums by call, when all have been scraped or pushed. A call is its tag here."""

    def ask() -> Read:
        if server.name == "VictoriaMetrics":
            server.get("/internal/force_flush")
        costs: dict[str, float] = {}
        total: dict[str, float] = {}
        for labels, value in promql(server, f"sum by ({_CALL}, tokenmeter_cost_currency) (tokenmeter_cost_total)"):
            costs[labels[_CALL]] = value
            currency = labels["tokenmeter_cost_currency"]
            total[currency] = total.get(currency, 0.0) + value
        tokens: dict[str, dict[str, float]] = {}
        for labels, value in promql(server, f"sum by ({_CALL}, tokenmeter_component) (tokenmeter_usage_total)"):
            mine, component = tokens.setdefault(labels[_CALL], {}), labels["tokenmeter_component"]
            name = component if component in _SIDE else component.rpartition("_")[2]
            mine[name] = mine.get(name, 0.0) + value
        return Read({call: Shown(_inclusive(mine), costs.get(call)) for call, mine in tokens.items()}, total)

    answer: Read = until(ask, lambda read: read.calls.keys() >= set(wanted))
    return answer


def _inclusive(parts: Mapping[str, float]) -> dict[str, int]:
    """Disjoint components as totals with their parts, as spans say them."""
    total = dict.fromkeys(("input", "output"), 0.0)
    for name, value in parts.items():
        total[_SIDE[name]] += value
    inside = {name: value for name, value in parts.items() if name.startswith("cache_")}
    return _tokens(**total, **inside)
