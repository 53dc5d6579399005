"""`tokenmeter doctor` looks at the real thing and says the way out."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.made_records import record, unpriced
from tokenmeter.cli import _sdks, doctor
from tokenmeter.clients import known_roots
from tokenmeter.ledger.writer import Ledger


def examined(*arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Run the command in a process of its own: it puts hooks in."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "tokenmeter.cli", "doctor", "--json", *arguments],
        capture_output=True, text=True, env=os.environ | environment, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_it_finds_what_is_installed_and_hooked() -> None:
    status, answer, errors = examined()
    assert errors == ""
    assert answer["tokenmeter"]["version"] == importlib.metadata.version("tokenmeter-sdk")
    openai = answer["sdks"]["openai"]
    assert openai["version"] == importlib.metadata.version("openai")
    assert {"AsyncAPIClient.request", "SyncAPIClient.request"} <= set(openai["hooks"])
    assert [
        name for name, sdk in answer["sdks"].items() if sdk["version"] and not (sdk["hooks"] and sdk["tested"])
    ] == []
    assert answer["opentelemetry"]["opentelemetry-api"] == importlib.metadata.version("opentelemetry-api")
    assert status == (1 if answer["problems"] else 0)


def test_it_looks_for_every_package_that_has_an_adapter() -> None:
    assert sorted(_sdks.SDKS) == known_roots()


def garbage(path: Path) -> None:
    path.write_bytes(b"garbage " * 500)


def newer(path: Path) -> None:
    whole(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


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
        pytest.param(whole, None, id="healthy"),
        pytest.param(nothing, "there is no ledger at", id="missing"),
        pytest.param(garbage, "move it away", id="damaged"),
        pytest.param(newer, "upgrade tokenmeter-sdk", id="newer"),
    ],
)
def test_it_examines_the_ledger(tmp_path: Path, make: Callable[[Path], None], problem: str | None) -> None:
    path = tmp_path / "spend.db"
    make(path)
    answer = doctor.examine(str(path))
    problems = [text for text in answer["problems"] if text.startswith("ledger")]
    assert [problem in text for text in problems] == [True] if problem else not problems
    if problem is None:
        assert (answer["ledger"]["calls"], answer["ledger"]["unpriced"], answer["ledger"]["schema"]) == (2, 1, 1)


def test_a_bad_variable_is_a_problem_and_not_the_end() -> None:
    status, answer, errors = examined(TOKENMETER_SPANS="loud")
    assert (status, errors) == (1, "")
    assert any("TOKENMETER_SPANS='loud'" in problem for problem in answer["problems"])
    assert answer["sdks"]["openai"]["version"]


def test_silenced_telemetry_is_said() -> None:
    _, answer, _ = examined(OTEL_SDK_DISABLED="true")
    assert any("OTEL_SDK_DISABLED is true" in problem for problem in answer["problems"])


def test_it_knocks_at_the_endpoints_that_the_environment_names() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        there, away = (f"http://127.0.0.1:{one.getsockname()[1]}" for one in (listening, silent))
        _, answer, _ = examined(
            OTEL_EXPORTER_OTLP_ENDPOINT=there, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{away}/v1/metrics"
        )
    assert answer["opentelemetry"]["endpoints"] == {there: True, f"{away}/v1/metrics": False}
    (said,) = [one for one in answer["problems"] if "nobody listens" in one]
    assert f"at {away}/v1/metrics" in said


def test_no_key_is_printed() -> None:
    _, answer, _ = examined(OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer hush", OPENAI_API_KEY="sk-hush")
    assert "hush" not in json.dumps(answer)


def test_untested_versions_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sdks, "SDKS", {"openai": _sdks.Sdk("openai", (0,))})
    problems = doctor.examine()["problems"]
    version = importlib.metadata.version("openai")
    assert f"openai {version} is untested: tested are major versions 0" in problems


def test_the_text_says_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tokenmeter.cli import main

    main(["doctor", "--ledger", str(tmp_path / "none.db")])
    printed = capsys.readouterr().out
    assert f"openai                       {importlib.metadata.version('openai')} (tested)" in printed
    assert "problem: ledger: there is no ledger at" in printed
