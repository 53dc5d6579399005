"""Grafana dashboards, and Prometheus rules (recording, alerts) for the metrics of tokenmeter.

    python -m tokenmeter.dashboards dashboard > tokenmeter-dashboard.json
    python -m tokenmeter.dashboards ledger > tokenmeter-ledger.json
    python -m tokenmeter.dashboards rules --limit search=20:USD --limit '*=100:CNY' > tokenmeter-rules.yml

Both are generated from tables, `panels.PANELS`, `alerts.RECORDED` and `alerts.ALERTS`, and the tests run each query
against a real Prometheus. Every sum keeps currencies apart: yuan and dollars are never added. Read `panels.py` first.
The dashboard `ledger` asks the database of a fleet in SQL (`spend_panels.toml`), with the panels of the HTML report.

The dashboards are built with Grafana's own foundation SDK (`pip install 'tokenmeter-sdk[views]'`); the rules need
nothing. `make docs` writes all to `docs/grafana` and `docs/prometheus` for users without Python. No other
folder of the package imports this one.
"""

from tokenmeter.dashboards.alerts import ALERTS, RECORDED, Limit, rules
from tokenmeter.dashboards.panels import ANNOTATION, PANELS

__all__ = ["ALERTS", "ANNOTATION", "PANELS", "RECORDED", "Limit", "rules"]
