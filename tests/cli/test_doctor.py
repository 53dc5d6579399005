"""`tokenmeter doctor` looks at the real thing and says the way out."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.rigs.made_records import record, unpriced
from tokenmeter._support.text_tables import width
from tokenmeter.cli import _sdks
from tokenmeter.cli.doctor import examine
from tokenmeter.clients import SDKS, known_roots
from tokenmeter.ledger.writer import Ledger

DOCTORS = """
import contextlib, io, json, os, sys
from tokenmeter.cli import main

bare = dict(os.environ)
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.clear()
    os.environ.update(bare | asked["environment"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["doctor", *asked["arguments"]])
    print(json.dumps({"status": status, "out": out.getvalue(), "err": err.getvalue()}), flush=True)
"""


class Examined(NamedTuple):
    """What one run of the command came to."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Doctor = Callable[..., Examined]


@pytest.fixture(scope="module")
def doctor() -> Iterator[Doctor]:
    """Runs the command, again and again in one process of its own: it imports every SDK and puts hooks in."""
    command = [sys.executable, "-c", DOCTORS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asking, answers = process.stdin, process.stdout

        def run(*arguments: str, **environment: str) -> Examined:
            asking.write(json.dumps({"arguments": arguments, "environment": environment}) + "\n")
            asking.flush()
            line = answers.readline()
            assert line, f"the process ended with status {process.wait()}"
            return Examined(**json.loads(line))

        yield run
        asking.close()
        assert process.wait() == 0


def test_it_finds_what_is_installed_and_hooked(doctor: Doctor) -> None:
    found = doctor("--json")
    answer = found.answer
    assert found.err == ""
    assert answer["tokenmeter"]["version"] == importlib.metadata.version("tokenmeter-sdk")
    openai = answer["sdks"]["openai"]
    assert openai["version"] == importlib.metadata.version("openai")
    assert {"AsyncAPIClient.request", "SyncAPIClient.request"} <= set(openai["hooks"])
    assert [
        name for name, sdk in answer["sdks"].items() if sdk["version"] and not (sdk["hooks"] and sdk["tested"])
    ] == []
    assert answer["opentelemetry"]["opentelemetry-api"] == importlib.metadata.version("opentelemetry-api")
    assert found.status == (1 if answer["problems"] else 0)


def test_it_looks_for_every_package_that_has_an_adapter() -> None:
    found, _ = _sdks.look()
    assert sorted(found) == known_roots()


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 500)


def newer(path: Path) -> None:
    whole(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


def healthy(path: Path) -> None:
    ledger = Ledger(path)
    ledger.write(record())
    ledger.close()


def whole(path: Path) -> None:
    ledger = Ledger(path)
    ledger.write(record())
    ledger.write(record(unpriced()))
    ledger.close()


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(healthy, None, id="healthy"),
        pytest.param(whole, "1 of 2 calls are unpriced: no rate for this model", id="unpriced calls"),
        pytest.param(nothing, "there is no ledger at", id="missing"),
        pytest.param(garbage, "move it away", id="damaged"),
        pytest.param(newer, "upgrade tokenmeter-sdk", id="newer"),
    ],
)
def test_it_examines_the_ledger(
    doctor: Doctor, tmp_path: Path, make: Callable[[Path], None], problem: str | None
) -> None:
    path = tmp_path / "spend.db"
    make(path)
    answer = doctor("--json", "--ledger", str(path)).answer
    problems = [text for text in answer["problems"] if text.startswith("ledger")]
    assert [problem in text for text in problems] == [True] if problem else not problems
    if problem is None:
        assert (answer["ledger"]["calls"], answer["ledger"]["unpriced"], answer["ledger"]["schema"]) == (1, 0, 5)


def test_a_bad_variable_is_a_problem_and_not_the_end(doctor: Doctor) -> None:
    found = doctor("--json", TOKENMETER_SPANS="loud")
    assert (found.status, found.err) == (1, "")
    assert any("TOKENMETER_SPANS='loud'" in problem for problem in found.answer["problems"])
    assert found.answer["sdks"]["openai"]["version"]


def test_silenced_telemetry_is_said(doctor: Doctor) -> None:
    problems = doctor("--json", OTEL_SDK_DISABLED="true").answer["problems"]
    assert any("OTEL_SDK_DISABLED is true" in problem for problem in problems)


def test_it_knocks_at_the_endpoints_that_the_environment_names(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        there, away = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (listening, silent))
        answer = doctor(
            "--json", OTEL_EXPORTER_OTLP_ENDPOINT=there, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{away}/v1/metrics"
        ).answer
    assert answer["opentelemetry"]["endpoints"] == {there: True, f"{away}/v1/metrics": False}
    (said,) = [one for one in answer["problems"] if "no server listens" in one]
    assert f"at {away}/v1/metrics" in said


def test_no_key_is_printed(doctor: Doctor) -> None:
    for form in (["--json"], []):
        found = doctor(*form, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer hush", OPENAI_API_KEY="sk-hush")
        assert "hush" not in found.out + found.err


def test_untested_versions_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sdks, "SDKS", {"openai": SDKS["openai"]._replace(majors=(0,))})
    problems = examine()["problems"]
    version = importlib.metadata.version("openai")
    assert f"openai {version} is untested: tested are major versions 0" in problems


def test_every_fact_is_printed_on_demand(doctor: Doctor, tmp_path: Path) -> None:
    printed = doctor("--verbose", "--ledger", str(tmp_path / "none.db")).out
    assert f"openai                       {importlib.metadata.version('openai')} (tested), hooked at" in printed
    assert "realtime sessions" in printed
    assert "problem: ledger: there is no ledger at" in printed


def test_the_text_begins_with_what_is_wrong_and_fits_a_screen(doctor: Doctor, tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    whole(path)
    lines = doctor("--ledger", str(path), TOKENMETER_LEGER="x.db", COLUMNS="80").out.splitlines()
    assert max(map(width, lines)) <= 80
    assert len(lines) <= 40
    assert lines[0].endswith(" problems")
    text = " ".join(line.strip() for line in lines)
    assert "problem: TOKENMETER_LEGER is not a variable of tokenmeter; did you mean TOKENMETER_LEDGER?" in text
    assert "problem: ledger: 1 of 2 calls are unpriced: no rate for this model" in text
    assert f"openai {importlib.metadata.version('openai')}" in text
    assert "2 calls, 1 unpriced" in text
    facts = lines.index("")
    assert not any(line.startswith("problem") for line in lines[facts:])


def installed(folder: Path, name: str, version: str) -> None:
    """A distribution as pip records it, with no files."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("tokenmeter", "pip uninstall tokenmeter; pip install --force-reinstall tokenmeter-sdk"),
        ("curl_cffi", "tokenmeter.call(provider=..., model=...)"),
        ("niquests", "tokenmeter.call(provider=..., model=...)"),
    ],
)
def test_a_package_beside_us_that_is_in_the_way_is_said(
    name: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = examine()["problems"]
    installed(tmp_path, name, "0.1.0")
    monkeypatch.syspath_prepend(str(tmp_path))
    (found,) = [problem for problem in examine()["problems"] if problem not in before]
    assert name in found
    assert "0.1.0" in found
    assert found.endswith(remedy)


def test_the_secret_of_account_hashes_is_not_shown(doctor: Doctor) -> None:
    given = {"TOKENMETER_ACCOUNT_KEY": "a secret of ours", "TOKENMETER_ACCOUNT": "openai=org-a"}
    for shown in (doctor("--json", **given).out, doctor(**given).out):
        assert "a secret of ours" not in shown
        assert "org-a" in shown
