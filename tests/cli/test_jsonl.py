"""The loop behind every `--jsonl`: each line answered in its place, whatever it holds."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter._support import guard
from tokenmeter.cli import _jsonl
from tokenmeter.cli._jsonl import LineError, answer_lines


def echo(line: dict[str, Any]) -> dict[str, Any]:
    """A handler that shows what was read, exactly."""
    if "refuse" in line:
        raise LineError(f"{line['refuse']} is refused: leave it out", "refuse")
    return {"read": repr({key: value for key, value in line.items() if key != "id"})}


class Chunks(io.RawIOBase):
    """Standard input that arrives in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._pieces:
            return 0
        piece = self._pieces.pop(0)
        buffer[: len(piece)] = piece
        return len(piece)


class Standard:
    """A text stream with bytes below it, as `sys.stdin` and `sys.stdout` are."""

    def __init__(self, buffer: Any) -> None:
        self.buffer = buffer

    def flush(self) -> None:
        pass


def answered(pieces: list[bytes], handler: Any = echo) -> tuple[int, list[dict[str, Any]]]:
    target = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", Standard(io.BufferedReader(Chunks(list(pieces)))))
        patch.setattr(sys, "stdout", Standard(target))
        status = answer_lines("-", handler)
    return status, [json.loads(line) for line in target.getvalue().decode().splitlines()]


def test_one_answer_per_line_in_order_with_id_and_line() -> None:
    status, answers = answered([b'{"id": "a"}\n\n  \r\n{"id": 7}\r\n{}'])
    assert status == 0
    assert [(answer["id"], answer["line"]) for answer in answers] == [("a", 1), (7, 4), (None, 5)]
    assert [list(answer)[:2] for answer in answers] == [["id", "line"]] * 3


@pytest.mark.parametrize(
    ("line", "error", "field"),
    [
        pytest.param(b"{", "not JSON", None, id="cut off"),
        pytest.param(b"{'a': 1}", "not JSON", None, id="single quotes"),
        pytest.param(b'{"a": 1} {"b": 2}', "not JSON: Extra data at column 10", None, id="two values"),
        pytest.param(b"[1]", "a line holds a JSON object, not an array", None, id="array"),
        pytest.param(b"null", "not null", None, id="null"),
        pytest.param(b"3", "not a number", None, id="number"),
        pytest.param(b'"text"', "not a string", None, id="string"),
        pytest.param(b'{"a": NaN}', "NaN is not JSON", None, id="NaN"),
        pytest.param(b'{"a": -Infinity}', "-Infinity is not JSON", None, id="infinity"),
        pytest.param(b'{"a": 1, "a": 2}', "'a' is there twice", "a", id="key twice"),
        pytest.param(b'{"usage": {"n": 1, "n": 2}}', "'n' is there twice", "n", id="key twice, deeper"),
        pytest.param(b'{"a": "\xff"}', "not UTF-8: byte 8 of the line is 0xff", None, id="not UTF-8"),
        pytest.param(b'{"a": "\xed\xa0\x80"}', "not UTF-8", None, id="surrogate in UTF-8"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit", None, id="endless integer"),
        pytest.param(b'{"a": 1e9999999999999999999}', "beyond what can be held", None, id="endless exponent"),
        pytest.param(b'{"a": ' + b"[" * 100_000, "nested too deeply", None, id="nesting"),
        pytest.param(b'{"a": "\x01"}', "not JSON: Invalid control character", None, id="control character"),
        pytest.param(b'{"refuse": "gold"}', "gold is refused: leave it out", "refuse", id="the handler's own"),
    ],
)
def test_a_line_that_is_not_understood_is_answered_in_its_place(line: bytes, error: str, field: str | None) -> None:
    status, answers = answered([b'{"id": 1}\n' + line + b'\n{"id": 3}\n'])
    assert status == 1
    assert [answer["line"] for answer in answers] == [1, 2, 3]
    assert set(answers[1]) == {"id", "line", "error", "field"}
    assert error in answers[1]["error"]
    assert answers[1]["field"] == field
    assert "error" not in answers[0]
    assert "error" not in answers[2]


def test_the_id_comes_back_with_an_error_too() -> None:
    _, answers = answered([b'{"id": "x", "refuse": 1}'])
    assert answers[0]["id"] == "x"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("0.10", Decimal("0.10"), id="fraction"),
        pytest.param("1e-7", Decimal("1e-7"), id="exponent"),
        pytest.param("123456789012345678901234567890", 123456789012345678901234567890, id="long integer"),
        pytest.param("0.123456789012345678901234567890", Decimal("0.123456789012345678901234567890"),
                     id="more digits than a float"),
        pytest.param("true", True, id="boolean"),
        pytest.param('"\\u4f60\\u597d"', "你好", id="escapes"),
    ],
)  # fmt: skip
def test_numbers_are_read_exactly(text: str, value: object) -> None:
    _, answers = answered([f'{{"n": {text}}}'.encode()])
    assert answers[0]["read"] == repr({"n": value})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("1.5", "1.5", id="fraction"),
        pytest.param("0.1234567890123456789", '"0.1234567890123456789"', id="beyond a float"),
        pytest.param('["a", {"b": null}]', '["a", {"b": null}]', id="structure"),
        pytest.param('"\\ud800"', '"\\ud800"', id="lone surrogate"),
        pytest.param('"中文🙂"', '"中文🙂"', id="wide"),
    ],
)
def test_an_id_is_given_back_as_it_came(text: str, expected: str) -> None:
    status, answers = answered([f'{{"id": {text}}}\n'.encode()], lambda _: {})
    assert status == 0
    assert answers == [{"id": json.loads(expected), "line": 1}]


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\x0b", "\x1c"])
def test_no_answer_spans_two_lines_for_any_reader(character: str) -> None:
    _, answers = answered([json.dumps({"id": f"a{character}b"}).encode()])
    assert answers[0]["id"] == f"a{character}b"


def test_a_byte_order_mark_is_skipped() -> None:
    status, answers = answered([b'\xef\xbb\xbf{"id": 1}\n'])
    assert (status, answers[0]["id"]) == (0, 1)


def test_utf_16_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    status, answers = answered(['{"id": 1}\n'.encode("utf-16")])
    assert (status, answers) == (2, [])
    assert "UTF-16; save it as UTF-8" in capsys.readouterr().err


def test_a_line_too_long_is_answered_and_the_next_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jsonl, "LONGEST_LINE", 1_000)
    long = b'{"id": 1, "text": "' + b"x" * 5_000 + b'"}\n'
    pieces = [long[:300], long[300:2_000], long[2_000:], b'{"id": 2}\n', long.strip()]
    status, answers = answered(pieces)
    assert status == 1
    assert [(answer["id"], answer["line"], "error" in answer) for answer in answers] == [
        (None, 1, True), (2, 2, False), (None, 3, True),
    ]  # fmt: skip
    assert "5021 bytes long; at most 1000" in answers[0]["error"]


def test_a_failure_of_ours_answers_its_line_and_no_other() -> None:
    def broken(line: dict[str, Any]) -> dict[str, Any]:
        return {"one": 1 / line["n"]}

    guard.raise_failures(False)
    try:
        status, answers = answered([b'{"id": 1, "n": 1}\n{"id": 2, "n": 0}\n{"id": 3, "n": 1}\n'], broken)
    finally:
        guard.raise_failures(True)
    assert status == 1
    assert [("error" in answer, answer["id"]) for answer in answers] == [(False, 1), (True, 2), (False, 3)]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.sampled_from(["id", "a", "模型", "z"]), values, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.lists(documents | st.just(None), max_size=12), st.integers(1, 40), st.sampled_from(["\n", "\r\n"]))
def test_however_it_arrives_every_line_is_answered(lines: list[dict[str, Any] | None], size: int, end: str) -> None:
    text = end.join("" if line is None else json.dumps(line, ensure_ascii=False) for line in lines)
    data = text.encode("utf-8", "surrogatepass")
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    status, answers = answered(pieces, lambda line: {"back": line})
    expected = [(number, line) for number, line in enumerate(lines, 1) if line is not None]
    assert status == 0
    assert [(answer["line"], answer["back"]) for answer in answers] == expected


# In a process of its own ------------------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from tokenmeter.cli._jsonl import answer_lines
def handler(line):
    time.sleep(float(line.get("sleep", 0)))
    return {"n": len(line)}
sys.exit(answer_lines(sys.argv[1], handler))
"""


def start(path: str = "-", **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, path]
    if os.name == "posix":  # a shell starts background jobs with interrupts ignored, and children inherit that
        options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_a_program_that_writes_a_line_and_waits_gets_its_answer() -> None:
    child = start()
    assert child.stdin is not None
    assert child.stdout is not None
    for number in (1, 2):
        child.stdin.write(b'{"id": "ask"}\n')
        child.stdin.flush()
        assert json.loads(child.stdout.readline()) == {"id": "ask", "line": number, "n": 1}
    _, errors = child.communicate()
    assert (child.returncode, errors) == (0, b"")


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(b'{"id": 1}\n' * 200_000)
    child = start(str(path))
    assert child.stdout is not None
    assert child.stdout.readline() == b'{"id": 1, "line": 1, "n": 1}\n'
    child.stdout.close()
    assert child.stdin is not None
    child.stdin.close()
    assert child.stderr is not None
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(30) == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interrupt_keeps_the_answers_so_far_and_ends_with_130() -> None:
    child = start()
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b'{"id": "done", "sleep": 0.2}\n{"id": "long", "sleep": 60}\n')
    child.stdin.flush()
    first = child.stdout.readline()
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=60)
    assert json.loads(first)["id"] == "done"
    assert (rest, errors, child.returncode) == (b"", b"", 130)


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer_lines(str(tmp_path / name), echo) == 2
    assert f"cannot read {tmp_path / name}" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["1e999999", "1E+99999999", "-1e-999999999999", "1" * 400 + "." + "1" * 700])
def test_a_number_beyond_all_use_is_refused_at_once(number: str) -> None:
    status, (answer,) = answered([f'{{"id": null, "usage": {{"quantities": {{"searches": {number}}}}}}}\n'.encode()])
    assert status == 1
    assert answer["error"] == f"the number {number[:40]} is beyond what can be held"
