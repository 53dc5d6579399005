"""Run the backends' own reading code on our spans: every package that holds some, in an environment of its own.

    python tools/mappings.py [-- PYTEST ARGUMENTS]

The environment is made once, as `.venvs/mappings`. Phoenix comes without its dependencies: its conversion of spans
needs few of them, and its server, which needs them all, is the matter of `make test-backends`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sdk_matrix import ROOT, VENVS, environment

NAME: Final = "mappings"
PACKAGES: Final = (
    "openai>=2", "httpx", "hypothesis", "mlflow-tracing", "openinference-semantic-conventions", "langfuse", "openlit",
    "logfire>=5", "importlib_metadata", "ddtrace", "pandas", "pydantic",
)  # fmt: skip
ALONE: Final = ("arize-phoenix",)


def main(extra: list[str]) -> int:
    python = environment(NAME, PACKAGES)
    stamp = VENVS / NAME / ".alone"
    if not stamp.exists():
        cache = os.environ | {"PIP_CACHE_DIR": str(VENVS / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run([str(python), "-m", "pip", "install", "-qq", "--no-deps", *ALONE], check=True, env=cache)
        stamp.write_text(" ".join(ALONE))
    test = "tests/otel/test_mappings.py"
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "-rs", test, *extra]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]))
