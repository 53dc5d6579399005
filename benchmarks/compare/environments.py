"""The environments of the comparison: one for each instrumentation, made from the registry, and ours from a wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
BASE: Final = ("openai>=2,<4", "opentelemetry-sdk")
PEERS: Final[dict[str, tuple[str, ...]]] = {
    "openinference": ("openinference-instrumentation-openai",),
    "official": ("opentelemetry-instrumentation-genai-openai",),
    "openllmetry": ("opentelemetry-instrumentation-openai",),
    "langfuse": ("langfuse",),
    "logfire": ("logfire",),
    # Of its many requirements the registry has one set that fits together, found by hand; pip searches for hours.
    "openlit": (
        "openlit==1.45.0",
        "opentelemetry-sdk==1.39.0",
        "opentelemetry-exporter-otlp-proto-http==1.39.0",
        "opentelemetry-distro==0.60b0",
    ),
}
INSTALL_SECONDS: Final = 600
RUN_SECONDS: Final = 1200
"""How long one installation or one measuring process may take; what takes longer is skipped, and the page says so."""

_own: Final = threading.Lock()
_made: set[str] = set()


def environment(name: str, packages: Iterable[str]) -> Path:
    """The Python of an environment with these packages; made where it is not there or is another."""
    home = ROOT / ".venvs" / f"bench-{name}"
    python, stamp = home / "bin" / "python", home / ".packages"
    wanted = json.dumps([*BASE, *packages])
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"{name}: installing", flush=True)
    run([sys.executable, "-m", "venv", "--clear", home], seconds=INSTALL_SECONDS)
    run([python, "-m", "pip", "install", "-qq", *BASE, *packages], seconds=INSTALL_SECONDS)
    stamp.write_text(wanted)
    return python


def own_environment() -> Path:
    """The environment with a wheel of this checkout, with bytecode, as users install it; made once in a run."""
    with _own:
        python = environment("tokenmeter", ())
        if "tokenmeter" not in _made:
            pip = [python, "-m", "pip", "install", "-qq"]
            run([*pip, "--force-reinstall", "--no-deps", ROOT], seconds=INSTALL_SECONDS)
            run([*pip, ROOT], seconds=INSTALL_SECONDS)
            _made.add("tokenmeter")
    return python


def run(command: Iterable[Any], *, seconds: float = RUN_SECONDS) -> str:
    """What a command prints. Raises RuntimeError with the end of what it said where it fails or takes too long."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_"))}
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, env={**clean, "PYTHONHASHSEED": "0"}, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{Path(words[0]).name} took longer than {seconds / 60:.0f} minutes") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(said[-1] if said else f"exit status {done.returncode}")
    return done.stdout


def library(folder: Path) -> Path | None:
    """`callgrind.c` compiled; None where valgrind or a compiler is missing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("valgrind") is None:
        return None
    made = folder / "libcallgrind.so"
    try:
        run([compiler, "-shared", "-fPIC", "-O1", "-o", made, HERE / "callgrind.c"])
    except RuntimeError:
        return None  # valgrind's headers are a package of their own in some places
    return made
