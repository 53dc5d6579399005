"""Real programs that the tests in this folder talk to. Where one is not installed, its tests are skipped and say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.services import answers, free_port, program
from tests.rigs.tiny_model import write_model

RIGS = Path(__file__).parents[1] / "rigs"


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of llama.cpp's server with a tiny model of noise."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's server comes with the package xllamacpp")
    pytest.importorskip("gguf", reason="the tiny model is written with the package gguf")
    folder = tmp_path_factory.mktemp("llama")
    model, port = folder / "tiny.gguf", free_port()
    write_model(model)
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(RIGS / "llama_process.py"), str(model), str(port)]
    with program(command, lambda: answers(f"{address}/health"), folder / "log"):
        yield address
