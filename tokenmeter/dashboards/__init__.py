"""Ready-made views of the metrics: a Grafana dashboard, and recording and alert rules for Prometheus.

    python -m tokenmeter.dashboards dashboard > tokenmeter-dashboard.json
    python -m tokenmeter.dashboards rules --limit search=20:USD --limit '*=100:CNY' > tokenmeter-rules.yml

Both are made from tables, `panels.PANELS` and `alerts.RECORDED` and `ALERTS`, so that a query is written once and the
tests can ask a real Prometheus each of them. Every sum keeps currencies apart: yuan and dollars are never added.

The dashboard is built with Grafana's own foundation SDK (`pip install 'tokenmeter-sdk[views]'`); the rules need
nothing. What the commands write is kept in `docs/grafana` and `docs/prometheus` for everybody without Python. Nothing
here is imported by the package.
"""

from tokenmeter.dashboards.alerts import ALERTS, RECORDED, Limit, rules
from tokenmeter.dashboards.panels import ANNOTATION, PANELS

__all__ = ["ALERTS", "ANNOTATION", "PANELS", "RECORDED", "Limit", "rules"]
