"""What MLflow shows of each span and trace, asked by its own client: a line of JSON for each.

    .venvs/backend-mlflow/bin/python tools/backends/read_mlflow.py ORIGIN EXPERIMENT

Runs in MLflow's environment, and so imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import mlflow  # type: ignore[import-not-found,unused-ignore]


def main(origin: str, experiment: str) -> None:
    client: Any = mlflow.MlflowClient(origin)
    token = None
    while True:
        page = client.search_traces(locations=[experiment], max_results=100, page_token=token)
        for found in page:
            cost = found.info.trace_metadata.get("mlflow.trace.cost")
            line = {
                "trace_id": found.info.trace_id,
                "tokens": found.info.token_usage,
                "cost": None if cost is None else json.loads(cost),
                "spans": [
                    {
                        "span_id": span.span_id,
                        "call_id": span.attributes.get("tokenmeter.call.id"),
                        "tokens": span.attributes.get("mlflow.chat.tokenUsage"),
                        "cost": span.attributes.get("mlflow.llm.cost"),
                    }
                    for span in found.data.spans
                ],
            }
            print(json.dumps(line))
        token = page.token
        if not token:
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
