"""Every example runs, and leaves behind what its own words promise."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs.services import until
from tokenmeter.testing import capture, provider_server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*command: str, **environment: str) -> str:
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_", "OPENAI_"))
    }
    done = subprocess.run(
        command, capture_output=True, text=True, env={**clean, **environment}, cwd=ROOT, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_by_hand(tmp_path: Path) -> None:
    out = run(sys.executable, str(EXAMPLES / "by_hand.py"), TOKENMETER_LEDGER=str(tmp_path / "spend.db"))
    with contextlib.closing(sqlite3.connect(tmp_path / "spend.db")) as ledger:
        assert ledger.execute("SELECT DISTINCT status FROM calls").fetchall() == [("priced",)]
    assert re.search(r"3 calls, 0\.\d+ CNY", out)
    assert "'reported': 2" in out


def test_existing_opentelemetry() -> None:
    out = run(sys.executable, str(EXAMPLES / "existing_opentelemetry.py"))
    assert '"name": "chat qwen-plus"' in out
    assert '"tokenmeter.cost.amount": "0.00003808"' in out
    assert "tokenmeter.cost {currency} 3.808e-05" in out


def untouched(**environment: str) -> str:
    """What the program without a line about us prints under OpenTelemetry's launcher, its spans among it."""
    launcher = Path(sys.executable).with_name("opentelemetry-instrument")
    if not launcher.exists():
        pytest.skip("opentelemetry-instrument is not installed: pip install 'tokenmeter-sdk[zero-code]'")
    exported = {"OTEL_TRACES_EXPORTER": "console", "OTEL_LOGS_EXPORTER": "none", **environment}
    return run(str(launcher), sys.executable, str(EXAMPLES / "zero_code.py"), **exported)


def test_an_untouched_program_is_metered_without_code() -> None:
    out = untouched(
        OTEL_METRICS_EXPORTER="console",
    )
    assert out.count('"name": "chat deepseek-chat"') == 2
    assert out.count('"tokenmeter.cost.status": "priced"') >= 2
    assert '"name": "tokenmeter.cost"' in out


def test_zero_code_can_be_switched_off() -> None:
    out = untouched(
        OTEL_METRICS_EXPORTER="none",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="tokenmeter",
    )
    assert "tokenmeter.cost" not in out


def test_fastapi_app_with_a_streaming_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi", reason="the example's web framework")
    testclient = pytest.importorskip("fastapi.testclient", reason="FastAPI's test client needs httpx")
    openai = pytest.importorskip("openai")
    monkeypatch.syspath_prepend(str(ROOT))
    import tokenmeter
    from examples import fastapi_app

    try:
        with provider_server() as server, capture() as records:
            http = openai.DefaultAsyncHttpxClient(proxy=server.origin)
            fastapi_app.app.state.client = openai.AsyncOpenAI(
                base_url="http://api.deepseek.com", api_key="any", http_client=http
            )
            with testclient.TestClient(fastapi_app.app) as web:
                answer = web.get("/ask", params={"question": "why?", "user": "u1"}).json()
                assert answer["answer"]
                assert re.fullmatch(r"0\.\d+ CNY", answer["cost"][0])
                text = web.get("/stream", params={"question": "why?"}).text
                assert text.strip()
            until(lambda: len(records) == 2, "the record of the stream")
        plain, streamed = records
        assert (plain.tags, plain.scope) == ({"user": "u1"}, ("ask",))
        assert (streamed.scope, streamed.stream, streamed.end) == (("stream",), True, "complete")
    finally:
        tokenmeter.uninstrument()


def test_notebook_shows_a_scope() -> None:
    nbclient = pytest.importorskip("nbclient", reason="runs the notebook")
    nbformat = pytest.importorskip("nbformat", reason="reads the notebook")
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = cells[1].outputs[0].data["text/html"]
    assert "<caption>questions</caption>" in shown
    assert "CNY" in shown
    assert cells[2].outputs[0].data["text/plain"].endswith("3, True)")


def test_the_notebook_is_stored_without_output() -> None:
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text("utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"])
