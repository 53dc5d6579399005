"""Calibration in a program that calls models: which calls are counted, what is kept of them, what later calls gain."""

from __future__ import annotations

import gc
import itertools
import json
import os
import random
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tokenmeter
from tokenmeter import ConfigurationError, End, Source, Tokenmeter
from tokenmeter.calls.sampler import CALLS, FIRST, PAUSE, SPREAD
from tokenmeter.testing import ProviderServer, Received, Reply, capture, json_reply, provider_server, sse, sse_reply
from tokenmeter.tokens import count_output, count_request
from tokenmeter.tokens.calibration.fit import LEAST_PAIRS, Pair
from tokenmeter.tokens.calibration.store import FileStore, Key
from tokenmeter.tokens.ratio import script_of

HIDDEN = 33
"""Tokens that the provider of these tests adds to every request."""
FACTOR = 1.25
"""Its tokens per token of ours."""
SECRET = "天机不可泄露"


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "doubao-seed-1.6", "messages": [{"role": "user", "content": text}], **more}


def truth(request: dict[str, Any], answer: str) -> dict[str, int]:
    """What this provider bills."""
    asked = count_request(request, provider="volcengine", api="openai.chat")
    said = count_output(model=request["model"], provider="volcengine", api="openai.chat", text=answer)
    assert asked.tokens is not None
    assert said.tokens is not None
    return {
        "prompt_tokens": round(HIDDEN + FACTOR * asked.tokens),
        "completion_tokens": round(FACTOR * said.tokens),
    }


def reply(text: str, usage: dict[str, int] | None) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    return {"id": "c", "model": "doubao-seed-1.6", "choices": [choice], **({"usage": usage} if usage else {})}


class Ticks:
    """A steady clock on which every look is a second later."""

    def __init__(self, step: int = PAUSE) -> None:
        self._ticks = itertools.count(step=step)

    def __call__(self) -> int:
        return next(self._ticks)


def words(rng: random.Random) -> str:
    return "".join(rng.choices(["今天", "天气", "很好，", "请问", "价格是多少？", "模型"], k=rng.randint(5, 300)))


def call(meter: Tokenmeter, text: str, answer: str, usage: dict[str, int] | None = None) -> None:
    request = body(text)
    with meter.call(provider="volcengine", model=request["model"], request=request, api="openai.chat") as one:
        one.observe(reply(answer, usage))


USAGE = {"prompt_tokens": 50, "completion_tokens": 5}


# Which calls are counted ----------------------------------------------------------------------------------------


def test_nothing_is_looked_at_unless_asked_for() -> None:
    meter = Tokenmeter(spans="none")
    assert meter._lifecycle.calibrator is None
    for _ in range(120):
        call(meter, "你好", "好", USAGE)
    assert "tokenmeter-calibration" not in {thread.name for thread in threading.enumerate()}
    meter.shutdown()


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"n": 2}, id="two answers"),
        pytest.param({"previous_response_id": "r1"}, id="a stored conversation"),
        pytest.param({"tools": [{"type": "web_search"}]}, id="a tool of the vendor's own"),
    ],
)
def test_what_cannot_be_counted_teaches_nothing(more: dict[str, Any]) -> None:
    meter = Tokenmeter(spans="none", calibrate=True, monotonic=Ticks())
    for _ in range(100):
        request = {**body("你好"), **more}
        with meter.call(provider="volcengine", model="doubao-seed-1.6", request=request, api="openai.chat") as one:
            one.observe(reply("好", {"prompt_tokens": 999, "completion_tokens": 99}))
    assert meter.flush()
    parts = {entry.key.part for entry in meter._calibrator.calibration.entries()}  # type: ignore[union-attr]
    assert not any(part.startswith("input") for part in parts if "n" not in more)
    assert "output" not in parts or "n" not in more
    meter.shutdown()


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"look_up_{number}",
            "description": "Look up what a shop asks for an item.",
            "parameters": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]},
        },
    }
    for number in range(6)
]


def test_tools_are_learnt_apart_from_the_text_around_them() -> None:
    """A vendor with a hidden prompt, and a tool prompt besides, is found out in seven calls of each kind."""
    rng = random.Random(4)
    meter = Tokenmeter(spans="none", calibrate=True, monotonic=Ticks())

    def bills(request: dict[str, Any]) -> int:
        tokens = count_request(request, provider="volcengine", api="openai.chat").tokens
        assert tokens is not None
        return tokens + HIDDEN + (60 if "tools" in request else 0)

    def ask(request: dict[str, Any], usage: dict[str, int] | None) -> None:
        with meter.call(provider="volcengine", model="doubao-seed-1.6", request=request, api="openai.chat") as one:
            one.observe(reply("好", usage))

    for number in range(7):
        for more in ({}, {"tools": TOOLS[: 1 + number % 5]}):
            request = body(words(rng), **more)
            if number or more:
                ask(request, {"prompt_tokens": bills(request), "completion_tokens": 1})
                assert meter.flush()
    entries = {entry.key.part: entry for entry in meter._calibrator.calibration.entries()}  # type: ignore[union-attr]
    assert entries["input"].fit is not None
    assert entries["input"].fit.line == (HIDDEN, 1.0)
    request = body("请问今天天气。" * 80, tools=TOOLS)
    with capture(meter) as records:
        ask(request, None)
    assert records.only().usage.input_tokens == bills(request)
    meter.shutdown()


# What is kept ---------------------------------------------------------------------------------------------------


class Text(str):
    """A string whose end can be seen."""


def test_a_texts_life_ends_when_it_has_been_counted(tmp_path: Path) -> None:
    path = tmp_path / "learnt.db"
    meter = Tokenmeter(spans="none", calibrate=True, calibration=path, monotonic=Ticks())
    alive: list[weakref.ref[Text]] = []
    for number in range(200):
        text = Text(f"{SECRET}{number}" * 20)
        alive.append(weakref.ref(text))
        call(meter, text, SECRET * 3, USAGE)
    del text
    assert meter.flush()
    gc.collect()
    assert [one() for one in alive] == [None] * 200
    [(key, pairs), *_] = FileStore(path).load()[0].items()
    assert key.provider == "volcengine"
    assert pairs
    meter.shutdown()
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert SECRET.encode() not in kept
    assert SECRET.encode("utf-16-le") not in kept


def test_messages_added_after_the_call_are_not_counted_as_sent() -> None:
    meter = Tokenmeter(spans="none", calibrate=True, monotonic=Ticks())
    for _ in range(70):
        request = body("你好")
        usage = truth(request, "好")
        with meter.call(provider="volcengine", model="doubao-seed-1.6", request=request, api="openai.chat") as one:
            one.observe(reply("好", usage))
        request["messages"].append({"role": "assistant", "content": "好" * 500})
    assert meter.flush()
    store = meter._calibrator.calibration.store  # type: ignore[union-attr]
    pairs = next(pairs for key, pairs in store.load()[0].items() if key.part == "input")
    assert pairs
    assert {pair.counted for pair in pairs} == {
        count_request(body("你好"), provider="volcengine", api="openai.chat").tokens
    }
    meter.shutdown()


# What later calls gain ------------------------------------------------------------------------------------------


def test_calls_teach_and_later_ones_are_corrected(tmp_path: Path) -> None:
    rng = random.Random(1)
    path = tmp_path / "learnt.db"
    meter = Tokenmeter(spans="none", calibrate=True, calibration=path, monotonic=Ticks())
    for number in range(LEAST_PAIRS + 10):
        text = words(rng)
        answer = "好" * (5 + len(text) // 9)
        usage = truth(body(text), answer)
        for _ in range(1 if number < FIRST else CALLS + SPREAD):  # whichever of them is chosen, they are alike
            call(meter, text, answer, usage)
        assert meter.flush()
    text, answer = "请问今天天气。" * 60, "好" * 70
    expected = truth(body(text), answer)
    with capture(meter) as records:
        call(meter, text, answer, expected)
        call(meter, text, answer)
    reported, filled = records
    assert reported.usage.input_tokens == expected["prompt_tokens"]
    assert reported.usage_source is Source.REPORTED
    assert not reported.flags
    assert filled.usage.source_of("input_tokens") is Source.ESTIMATED
    assert filled.flags == ("calibrated: input_tokens", "calibrated: output_tokens")
    for name, true in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        low, high = filled.usage.ranges[name]
        assert low <= expected[true] <= high
        assert getattr(filled.usage, name) == pytest.approx(expected[true], abs=3)
    meter.shutdown()

    plain = count_request(body(text), provider="volcengine", api="openai.chat")
    assert plain.tokens is not None
    assert plain.tokens < expected["prompt_tokens"] - HIDDEN  # without what was learnt it would be far off

    later = Tokenmeter(spans="none", calibration=str(path))  # learnt from no more, but used
    with capture(later) as records:
        call(later, text, answer)
    assert records.only().usage.input_tokens == filled.usage.input_tokens
    estimate = later.estimate(body(text, max_tokens=9), provider="volcengine")
    assert estimate.input.tokens == filled.usage.input_tokens
    assert estimate.input.calibrated
    later.shutdown()


def test_a_vendors_change_is_noted_on_records(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "learnt.db"
    meter = Tokenmeter(spans="none", calibrate=True, calibration=path, monotonic=Ticks())
    for factor in (1.0, 1.5):
        for number in range(25):
            text = "今天天气。" * (10 + number)
            asked = count_request(body(text), provider="volcengine", api="openai.chat").tokens
            assert asked is not None
            usage = {"prompt_tokens": round(asked * factor), "completion_tokens": 1}
            for _ in range(62):
                call(meter, text, "好", usage)
            assert meter.flush()
    assert len([one for one in caplog.records if "in another way since" in one.getMessage()]) == 1
    with capture(meter) as records:
        call(meter, "你好", "好")
    assert any(flag.startswith("calibration: input tokens (zh) are counted") for flag in records.only().flags)
    meter.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_learns_too_and_nobody_hangs(tmp_path: Path) -> None:
    path = tmp_path / "learnt.db"
    meter = Tokenmeter(spans="none", calibrate=True, calibration=path, monotonic=Ticks())
    for _ in range(70):
        call(meter, "今天天气。" * 9, "好", USAGE)
    assert meter.flush()
    calibrator = meter._calibrator
    assert calibrator is not None
    before = len(inputs(path))
    with (
        calibrator._lock,
        calibrator._sampler._lock,
        calibrator.calibration._lock,
    ):  # as if a thread were at work at this very moment
        child = os.fork()
        if child == 0:
            try:
                for _ in range(70):
                    call(meter, "今天天气。" * 9, "好", USAGE)
                os._exit(0 if meter.flush(20) else 3)
            finally:
                os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(inputs(path)) > before
    meter.shutdown()


def test_after_shutdown_no_text_is_kept_waiting() -> None:
    meter = Tokenmeter(spans="none", calibrate=True, monotonic=Ticks())
    meter.shutdown()
    text = Text(SECRET)
    seen = weakref.ref(text)
    for _ in range(100):
        call(meter, text, "好", USAGE)
    del text
    gc.collect()
    assert seen() is None


def inputs(path: Path) -> list[Pair]:
    return next(pairs for key, pairs in FileStore(path).load()[0].items() if key.part == "input")


# Through an SDK -------------------------------------------------------------------------------------------------

ANSWER = "每次调用的价格都清楚明白。" * 6


def bill(received: Received) -> Reply:
    """A provider that answers in its own way of counting; a stream it cuts before its usage if asked to."""
    request = json.loads(received.body)
    usage = truth({name: request[name] for name in ("model", "messages")}, ANSWER)
    if not request.get("stream"):
        return json_reply(reply(ANSWER, usage))
    frames = [
        sse(
            {"id": "c", "model": request["model"], "choices": [{"index": 0, "delta": {"content": ANSWER[at : at + 6]}}]}
        )
        for at in range(0, len(ANSWER), 6)
    ]
    ending = {"id": "c", "model": request["model"], "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    frames += [sse({**ending, "usage": usage}), sse("[DONE]")]
    return sse_reply(frames, b"")


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with provider_server(answer=bill) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_calls_of_an_sdk_teach(server: ProviderServer, tmp_path: Path, stream: bool) -> None:
    openai = pytest.importorskip("openai")
    meter = Tokenmeter(spans="none", calibrate=True, calibration=tmp_path / "learnt.db", monotonic=Ticks(PAUSE // 10))
    client = meter.wrap(openai.OpenAI(base_url=server.url("ark"), api_key="any"), provider="volcengine")
    rng = random.Random(5)
    for _ in range(130):
        done = client.chat.completions.create(**body(words(rng)), stream=stream)
        if stream:
            list(done)
    assert meter.flush()
    learnt = FileStore(tmp_path / "learnt.db").load()[0]
    assert {key.part for key in learnt} == {"input", "output"}
    for key, pairs in learnt.items():
        assert (key.provider, key.model, key.script) == ("volcengine", "doubao-seed-1.6", "zh")
        assert 1 <= len(pairs) <= FIRST + 130 // CALLS
        hidden = HIDDEN if key.part == "input" else 0
        assert all(pair.reported == round(hidden + FACTOR * pair.counted) for pair in pairs)
    meter.shutdown()


def test_a_stream_left_early_is_counted_as_the_vendor_counts(server: ProviderServer, tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    path = tmp_path / "learnt.db"
    teach(path)
    meter = Tokenmeter(spans="none", calibration=path)
    client = meter.wrap(openai.OpenAI(base_url=server.url("ark"), api_key="any"), provider="volcengine")
    request = body("请问今天天气怎么样？" * 20)
    with capture(meter) as records:
        stream = client.chat.completions.create(**request, stream=True)
        heard = "".join(chunk.choices[0].delta.content for chunk, _ in zip(stream, range(8), strict=False))
        stream.close()
    record = records.only()
    assert record.end is End.CLOSED_EARLY
    assert record.flags == ("calibrated: input_tokens", "calibrated: output_tokens")
    expected = truth(request, heard)
    low, high = record.usage.ranges["input_tokens"]
    assert low <= expected["prompt_tokens"] <= high
    assert record.usage.input_tokens == pytest.approx(expected["prompt_tokens"], abs=2)
    # More may have come over the wire than the caller looked at.
    assert record.usage.output_tokens is not None
    assert record.usage.output_tokens >= expected["completion_tokens"] - 2
    meter.shutdown()


def teach(path: Path) -> None:
    """A file that has learnt what this provider does."""
    import time

    store = FileStore(path)
    for part, hidden in (("input", HIDDEN), ("output", 0)):
        for number in range(LEAST_PAIRS + 5):
            text = "今天天气很好。" * (3 + 4 * number)
            assert script_of(text) == "zh"
            count = (
                count_request(body(text), provider="volcengine", api="openai.chat")
                if part == "input"
                else count_output(model="doubao-seed-1.6", provider="volcengine", api="openai.chat", text=text)
            )
            assert count.tokens is not None
            key = Key(
                "volcengine", "doubao-seed-1.6", "zh", part, f"{tokenmeter.__version__} {count.family} {count.method}"
            )
            store.add(key, Pair(int(time.time() * 1e6), count.tokens, round(hidden + FACTOR * count.tokens)))


# Settings -------------------------------------------------------------------------------------------------------


def test_settings_say_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("my notes " * 200)
    with pytest.raises(ConfigurationError, match=r"notes\.txt"):
        Tokenmeter(calibration=other)
    with pytest.raises(ConfigurationError, match="calibration=3: give a path, or a store"):
        Tokenmeter(calibration=3)
    monkeypatch.setenv("TOKENMETER_CALIBRATE", "perhaps")
    with pytest.raises(ConfigurationError, match="TOKENMETER_CALIBRATE='perhaps'"):
        Tokenmeter()
    monkeypatch.setenv("TOKENMETER_CALIBRATE", "on")
    monkeypatch.setenv("TOKENMETER_CALIBRATION", str(tmp_path / "learnt.db"))
    meter = Tokenmeter(spans="none")
    assert meter.settings.calibrate
    meter.shutdown()
    assert (tmp_path / "learnt.db").exists()


def test_the_page_about_it_runs(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "calibration.md"
    [block] = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(FileStore(tmp_path / "learnt.db", create=False).load())
