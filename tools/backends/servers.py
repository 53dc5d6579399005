"""Real backends on this machine: installed once under `.venvs/`, started on free ports of 127.0.0.1, always stopped.

Phoenix and MLflow come from the package registry, each in an environment of its own (they are large, and want other
versions of what we use). Prometheus is the system's own. VictoriaMetrics is Debian's package, unpacked and not
installed: bookworm's is too old to receive OTLP, and trixie's program runs on both. What cannot be had here is
answered with the reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdk_matrix import ROOT, VENVS

READY_SECONDS: Final = 240
_STOP_SECONDS: Final = 20
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SUITE: Final = "trixie"


class NotHere(Exception):
    """A backend that this machine cannot run; the message says why."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Server:
    """A running backend: its origin, and what is installed."""

    name: str
    origin: str
    version: str
    log: Path
    extra: dict[str, Any] = field(default_factory=dict)

    def get(self, path: str, *, timeout: float = 30) -> bytes:
        """The body of a GET."""
        with urllib.request.urlopen(self.origin + path, timeout=timeout) as answer:
            body: bytes = answer.read()
            return body


def environment(name: str, package: str) -> Path:
    """The Python of `.venvs/backend-NAME` with this package; installed where it is not there yet."""
    home = VENVS / f"backend-{name}"
    python = home / "bin" / "python"
    stamp = home / ".packages"
    wanted = f"{package} {sys.version_info[:2]}"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"{name}: installing {package} (about 850 MB)", flush=True)
    cache = os.environ | {"PIP_CACHE_DIR": str(VENVS / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True, capture_output=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "-qq", package], check=True, capture_output=True, env=cache
        )
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NotHere(f"pip could not install {package}: {' '.join(last)}") from None
    stamp.write_text(wanted)
    return python


def _installed(python: Path, package: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def running(command: Sequence[str | Path], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program with its output in a file; it and its children are gone at the end, however that comes."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True, **options,
        )  # fmt: skip
    try:
        yield process
    finally:
        # The process leads a group of its own, so workers that it started go with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when the address answers. Raises NotHere with the program's last lines if it ends or never does."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    tail = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise NotHere(f"{url} did not answer within {READY_SECONDS} s: {' / '.join(tail)}")


def _environ(**more: str) -> Mapping[str, str]:
    """This process's environment without what would lead a server elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PHOENIX_", "MLFLOW_"))}
    return kept | more


@contextlib.contextmanager
def phoenix(folder: Path) -> Iterator[Server]:
    """Arize Phoenix with a database of its own."""
    python = environment("phoenix", "arize-phoenix")
    port, grpc, log = free_port(), free_port(), folder / "phoenix.log"
    environ = _environ(
        PHOENIX_WORKING_DIR=str(folder / "phoenix"), PHOENIX_HOST="127.0.0.1", PHOENIX_PORT=str(port),
        PHOENIX_GRPC_PORT=str(grpc), PHOENIX_TELEMETRY_ENABLED="false",
    )  # fmt: skip
    with running([python.parent / "phoenix", "serve"], log, env=environ, cwd=folder) as process:
        origin = f"http://127.0.0.1:{port}"
        wait(process, f"{origin}/healthz", log)
        yield Server("Phoenix", origin, _installed(python, "arize-phoenix"), log)


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[Server]:
    """MLflow's tracking server on SQLite; `extra["python"]` has its client."""
    python = environment("mlflow", "mlflow")
    port, log = free_port(), folder / "mlflow.log"
    environ = _environ(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    command = [
        python.parent / "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
    ]  # fmt: skip
    with running(command, log, env=environ, cwd=folder) as process:
        origin = f"http://127.0.0.1:{port}"
        wait(process, f"{origin}/health", log)
        yield Server("MLflow", origin, _installed(python, "mlflow"), log, {"python": python})


@contextlib.contextmanager
def victoriametrics(folder: Path) -> Iterator[Server]:
    """VictoriaMetrics, single node, receiving OTLP."""
    program = _unpacked("victoria-metrics")
    port, log = free_port(), folder / "victoriametrics.log"
    command = [
        program, f"-storageDataPath={folder / 'vm'}", f"-httpListenAddr=127.0.0.1:{port}",
        "-opentelemetry.usePrometheusNaming", "-search.latencyOffset=0s",
    ]  # fmt: skip
    with running(command, log, cwd=folder) as process:
        origin = f"http://127.0.0.1:{port}"
        wait(process, f"{origin}/health", log)
        # Debian's build does not know its own version; the package's name does.
        packages = sorted((VENVS / "debian").glob("victoria-metrics_*.deb"))
        version = packages[-1].name.split("_")[1] if packages else "as installed"
        yield Server("VictoriaMetrics", origin, version, log)


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Server]:
    """Prometheus, scraping one address every two seconds."""
    program = shutil.which("prometheus")
    if program is None:
        raise NotHere("no prometheus on the path (Debian: apt-get install prometheus)")
    port, log = free_port(), folder / "prometheus.log"
    scrape = {"job_name": "app", "static_configs": [{"targets": [target]}]}
    settings = {"global": {"scrape_interval": "2s"}, "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    with running(command, log, cwd=folder) as process:
        server = Server("Prometheus", f"http://127.0.0.1:{port}", "", log)
        wait(process, f"{server.origin}/-/ready", log)
        server.version = json.loads(server.get("/api/v1/status/buildinfo"))["data"]["version"]
        yield server


def _unpacked(package: str) -> Path:
    """A program of Debian's package, fetched with signatures checked, and unpacked beside the environments."""
    installed = shutil.which(package)
    home = VENVS / "debian"
    program = home / "root" / "usr" / "bin" / package
    if program.exists():
        return program
    missing = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    if missing or not _KEYRING.exists():
        if installed is not None:
            return Path(installed)
        raise NotHere(f"{' and '.join(missing) or _KEYRING} not here: needs Debian's {package} 1.100 or newer")
    print(f"{package}: fetching Debian {_SUITE}'s package", flush=True)
    for part in ("lists/partial", "cache/archives/partial"):
        (home / part).mkdir(parents=True, exist_ok=True)
    sources = home / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] http://deb.debian.org/debian {_SUITE} main\n")
    options = [
        f"Dir::Etc::SourceList={sources}", "Dir::Etc::SourceParts=/dev/null", f"Dir::State::Lists={home / 'lists'}",
        f"Dir::Cache={home / 'cache'}", "Acquire::Languages=none", "APT::Sandbox::User=",
    ]  # fmt: skip
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    try:
        subprocess.run([*apt, "update"], check=True, capture_output=True, cwd=home)
        subprocess.run([*apt, "download", package], check=True, capture_output=True, cwd=home)
        newest = max(home.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
        subprocess.run(["dpkg", "-x", str(newest), str(home / "root")], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NotHere(f"Debian's {package} could not be fetched: {' '.join(last)}") from None
    return program


__all__ = ["ROOT", "NotHere", "Server", "free_port", "mlflow", "phoenix", "prometheus", "running", "victoriametrics"]
