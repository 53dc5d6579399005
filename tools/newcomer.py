"""Follow docs/observability.md as a newcomer would, in an empty environment, until Prometheus shows the right cost.

    python tools/newcomer.py [--keep]
    python tools/newcomer.py --readme [--keep]

With `--readme` the blocks of README.md and README.zh-CN.md are followed instead, from top to bottom in one folder each:
installed as the first one says, every Python block run as a program and every command of ours as it stands.

Everything is taken from the page: the packages to install, the program as it was, the lines to add, and what
Prometheus is told. Three things stand in for what a newcomer has: the wheel built from this checkout for the release,
`tokenmeter.testing`'s provider for a vendor and its key (as an HTTP proxy, so that the program talks to
api.openai.com), and a free port for 9464. Prometheus is Debian's. Prints how long it took and how many lines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import venv
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Final

from tokenmeter.testing import ProviderServer, provider_server

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "observability.md"
QUERY: Final = "sum by (tokenmeter_cost_currency) (tokenmeter_cost_total)"
# 24 tokens in, 8 of them from the cache, and 12 out is what the provider server reports of every call; gpt-4o costs
# 2.50, 1.25 and 10 dollars per million of these.
ONE_CALL: Final = (16 * Decimal("2.50") + 8 * Decimal("1.25") + 12 * Decimal(10)) / 10**6
PROMISED_SECONDS: Final = 300
READMES: Final = ("README.md", "README.zh-CN.md")
PROMISED_LINES: Final = 10
PATIENCE: Final = 280.0


class Broken(Exception):
    """The path does not lead where the page says."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    parser.add_argument("--readme", action="store_true", help="follow both READMEs instead")
    args = parser.parse_args(argv)
    prometheus = shutil.which("prometheus")
    if prometheus is None and not args.readme:
        print("skipped: Prometheus is not installed (apt-get install prometheus)")
        return 0
    folder = Path(tempfile.mkdtemp(prefix="newcomer-"))
    try:
        wheel = _wheel(folder)
        began = time.monotonic()
        if prometheus is None or args.readme:
            return _follow_readmes(folder, wheel)
        lines = _follow(folder, wheel, prometheus)
        seconds = time.monotonic() - began
    except Broken as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    finally:
        if args.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"{seconds:.0f} seconds from an empty environment to the cost in Prometheus; {lines} lines")
    kept = seconds <= PROMISED_SECONDS and lines <= PROMISED_LINES
    print("within five minutes and ten lines" if kept else "FAILED: the page promises five minutes and ten lines")
    return 0 if kept else 1


def blocks() -> dict[str, str]:
    """The titled blocks of the page."""
    found = re.findall(r"```\w+ title=(\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    wanted = {"app.py", "install", "costs", "prometheus.yml"}
    if {name for name, _ in found} != wanted:
        raise Broken(f"{PAGE}: its titled blocks are {[name for name, _ in found]}, not {sorted(wanted)}")
    return dict(found)


def _wheel(folder: Path) -> Path:
    print("building the wheel", flush=True)
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("tokenmeter_sdk-*.whl")
    return wheel


def _follow(folder: Path, wheel: Path, prometheus: str) -> int:
    """Do what the page says. Returns the number of lines that had to be written."""
    page = blocks()
    python = _installed(folder, page["install"], wheel)
    port = _free_port()
    (folder / "app.py").write_text(page["costs"].replace("9464", str(port)) + "\n" + page["app.py"], "utf-8")
    (folder / "prometheus.yml").write_text(page["prometheus.yml"].replace("9464", str(port)), "utf-8")
    listening = f"127.0.0.1:{_free_port()}"
    with provider_server() as server:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_"))
        }
        environment |= {
            "OPENAI_API_KEY": "any",
            "OPENAI_BASE_URL": "http://api.openai.com/v1",
            "HTTP_PROXY": server.origin,
            "http_proxy": server.origin,
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }
        program = [str(python), "app.py"]
        watcher = [
            prometheus, "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={listening}", "--log.level=warn",
        ]  # fmt: skip
        with _running(watcher, folder, None) as watching, _running(program, folder, environment) as running:
            _wait(f"http://{listening}", server, {"app": running, "prometheus": watching}, folder)
    return sum(len([line for line in page[name].splitlines() if line.strip()]) for name in ("costs", "prometheus.yml"))


def _installed(folder: Path, install: str, wheel: Path) -> Path:
    """A new environment with exactly the packages that the page names."""
    print(install.strip(), flush=True)
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    named = re.fullmatch(r"pip install '(tokenmeter-sdk)(\[[a-z,-]+\])' (.+)", install.strip())
    if named is None:
        raise Broken(f"{PAGE}: {install.strip()!r} is not a pip install of tokenmeter-sdk and other packages")
    packages = [f"{named[1]}{named[2]} @ {wheel.as_uri()}", *named[3].split()]
    quiet = ["-qq", "--disable-pip-version-check"]
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *packages], check=True)
    return python


def _follow_readmes(folder: Path, wheel: Path) -> int:
    """Run what both READMEs show, in the environment that their first block makes. Returns the exit status."""
    python: Path | None = None
    for name in READMES:
        text = (ROOT / name).read_text("utf-8")
        place = folder / name.removesuffix(".md")
        place.mkdir()
        for number, (kind, block) in enumerate(re.findall(r"```(sh|python)\n(.*?)```", text, re.DOTALL), 1):
            if python is None:
                (extras,) = re.findall(r"^pip install '\.(\[[a-z,-]+\])'", block, re.MULTILINE)
                python = _installed(folder, f"pip install 'tokenmeter-sdk{extras}' pip", wheel)
            began = time.monotonic()
            if kind == "python":
                (place / f"block{number}.py").write_text(block, "utf-8")
                commands = [f"python block{number}.py"]
            else:
                commands = [
                    line.split("  #")[0].strip() for line in block.splitlines() if line.startswith("tokenmeter ")
                ]
            for command in commands:
                _run(place, python, shlex.split(command))
            print(f"{name} block {number}: {len(commands)} run in {time.monotonic() - began:.1f} s", flush=True)
    return 0


def _run(folder: Path, python: Path, command: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_"))}
    clean |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONUTF8": "1"}
    clean.pop("PYTHONPATH", None)
    program = str(python.parent / command[0])
    done = subprocess.run(
        [program, *command[1:]], cwd=folder, env=clean, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise Broken(f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str] | None) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)


def _wait(url: str, server: ProviderServer, processes: dict[str, subprocess.Popen[bytes]], folder: Path) -> None:
    """Until Prometheus shows a cost, which must be that of as many calls as it shows."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for name, process in processes.items():
            if process.poll() is not None:
                said = (folder / f"{Path(str(process.args[0])).name}.log").read_text("utf-8", "replace")  # type: ignore[index]
                raise Broken(f"{name} ended with {process.returncode}: {said[-2000:]}")
        now = time.time()  # of one instant, or a scrape could come between the two
        costs, calls = _asked(url, QUERY, now), _asked(url, "sum(tokenmeter_calls_total)", now)
        if costs and calls:
            _check(costs, calls, server)
            return
        time.sleep(0.5)
    raise Broken(f"no {QUERY} in Prometheus after {PATIENCE:.0f} seconds")


def _check(
    costs: list[tuple[dict[str, str], Decimal]], calls: list[tuple[dict[str, str], Decimal]], server: ProviderServer
) -> None:
    (labels, cost), *others = costs
    if others or labels != {"tokenmeter_cost_currency": "USD"}:
        raise Broken(f"costs are in {costs}, not in USD alone")
    counted = calls[0][1]
    print(f"Prometheus shows {cost} USD for {counted} calls ({len(server.requests)} requests so far)")
    if cost != counted * ONE_CALL or not 0 < counted <= len(server.requests):
        raise Broken(f"{counted} calls of {ONE_CALL} USD each cost {counted * ONE_CALL} USD; Prometheus shows {cost}")


def _asked(url: str, query: str, at: float) -> list[tuple[dict[str, str], Decimal]]:
    """What Prometheus answers: labels and value; nothing while it is not there yet."""
    asked = urllib.parse.urlencode({"query": query, "time": at})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/api/v1/query?{asked}", timeout=10) as reply:
            answer = json.load(reply)
    except OSError:
        return []
    return [(one["metric"], Decimal(one["value"][1])) for one in answer["data"]["result"]]


if __name__ == "__main__":
    sys.exit(main())
