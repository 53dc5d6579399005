"""What holds for the whole suite: a failure of ours is raised, not logged, and no setting of the machine leaks in."""

from __future__ import annotations

import os

from tokenmeter import _guard

for _name in [name for name in os.environ if name.startswith(("TOKENMETER_", "OTEL_", "OPENAI_"))]:
    del os.environ[_name]
# A proxy of the machine would take the requests meant for the provider server.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

_guard.raise_failures(True)
