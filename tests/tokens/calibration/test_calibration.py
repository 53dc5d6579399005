"""Calibration learns what is added and by how much counts are off, within bounds, and lets go of what is old."""

from __future__ import annotations

import logging
import random

import pytest

from tokenmeter import TokenCount
from tokenmeter.tokens import count_request
from tokenmeter.tokens.calibration.calibration import Calibration
from tokenmeter.tokens.calibration.fit import HALF_LIFE, HANDFUL, WINDOW, Pair, fit
from tokenmeter.tokens.calibration.store import Key, MemoryStore, Store

START = 1_767_225_600_000_000
"""2026-01-01 (UTC), in microseconds."""
ZH = ["模型", "调用", "价格", "今天", "天气很好", "我们", "计算", "词元", "，", "。", "请解释", "为什么", "杭州"]
EN = ["the ", "price ", "of ", "a call ", "is known. ", "why ", "does it ", "cost more", "? ", "please explain "]


def counted(words: list[str], rng: random.Random, model: str = "qwen-plus", provider: str = "alibaba") -> TokenCount:
    """What the real engine counts for a request of random length."""
    text = "".join(rng.choices(words, k=int(8 * 200 ** rng.random())))
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return count_request(body, provider=provider, model=model, api="openai.chat")


class Clock:
    def __init__(self) -> None:
        self.now = START / 1e6

    def __call__(self) -> float:
        self.now += 60
        return self.now


KIND = {"provider": "alibaba", "model": "qwen-plus", "script": "zh", "part": "input"}


@pytest.mark.parametrize(
    ("overhead", "factor", "noise", "words"),
    [
        pytest.param(0, 1.0, 0.0, ZH, id="our count is right"),
        pytest.param(11, 1.0, 0.0, ZH, id="a hidden prompt"),
        pytest.param(1500, 1.0, 0.0, EN, id="a long hidden prompt"),
        pytest.param(-4, 1.0, 0.0, EN, id="we count too much"),
        pytest.param(0, 1.31, 0.01, EN, id="another vocabulary"),
        pytest.param(25, 0.9, 0.02, ZH, id="another vocabulary and a hidden prompt"),
    ],
)
def test_it_converges_on_what_is_added_and_by_how_much(
    overhead: int, factor: float, noise: float, words: list[str]
) -> None:
    rng = random.Random(20260101)
    calibration = Calibration(now=Clock())

    def reported(count: TokenCount) -> int:
        assert count.tokens is not None
        return max(1, round(overhead + factor * count.tokens * (1 + rng.gauss(0, noise))))

    for _ in range(WINDOW):
        count = counted(words, rng)
        assert not calibration.learn(count, reported(count), **KIND)
    [entry] = calibration.entries()
    assert entry.fit is not None
    assert entry.used
    assert entry.fit.line.overhead == pytest.approx(overhead, abs=0.5 if noise == 0 else 12)
    assert entry.fit.line.factor == pytest.approx(factor, abs=0.001 if noise == 0 else 0.03)
    fresh = [counted(words, rng) for _ in range(100)]
    corrected = [calibration.correct(count, **KIND) for count in fresh]
    truth = [reported(count) for count in fresh]
    inside = sum(one.low <= true <= one.high for one, true in zip(corrected, truth, strict=True))  # type: ignore[operator]
    assert inside >= 95
    bias = sum(one.tokens for one in corrected) / sum(truth)  # type: ignore[misc]
    assert bias == pytest.approx(1, abs=0.01)
    assert all(one.method == plain.method for one, plain in zip(corrected, fresh, strict=True))
    assert all("from 128 calls" in (one.calibrated or "") for one in corrected)


def test_one_odd_call_in_ten_moves_nothing() -> None:
    rng = random.Random(7)
    pairs = []
    for number in range(100):
        tokens = rng.randint(50, 2000)
        pairs.append(Pair(START + number, tokens, tokens + 9 + (rng.randint(1000, 9000) if number % 10 == 3 else 0)))
    known = fit(pairs)
    assert known.line == (9, 1.0)


def test_too_few_calls_correct_nothing() -> None:
    calibration = Calibration(now=Clock())
    for number in range(HANDFUL - 1):
        calibration.learn(TokenCount(100 + number, 90, 110, "exact", "qwen"), 130 + number, **KIND)
    count = TokenCount(100, 90, 110, "exact", "qwen")
    assert calibration.correct(count, **KIND) is count
    calibration.learn(count, 130, **KIND)
    assert calibration.correct(count, **KIND).tokens == 130


def test_what_is_old_weighs_less_and_is_let_go() -> None:
    pairs = [Pair(START + n, 100 + n, 110 + n) for n in range(60)]
    pairs += [Pair(START + 6 * HALF_LIFE + n, 100 + n, 140 + n) for n in range(30)]
    assert fit(pairs).line.overhead == 40
    known = fit(pairs[:60])
    assert known.weight_at(START + 60 + HALF_LIFE) == pytest.approx(30, abs=1)
    assert known.holds(START + 3 * HALF_LIFE)
    assert not known.holds(START + 4 * HALF_LIFE)
    assert len(MemoryStore().add(Key("p", "m", "zh", "input", "v"), pairs[0])) == 1


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"script": "en"}, id="script"),
        pytest.param({"part": "output"}, id="part"),
        pytest.param({"model": "qwen-max"}, id="model"),
        pytest.param({"provider": "openrouter"}, id="provider"),
    ],
)
def test_what_is_learnt_of_one_kind_is_not_used_for_another(other: dict[str, str]) -> None:
    calibration = Calibration(now=Clock())
    count = TokenCount(100, 90, 110, "exact", "qwen")
    for number in range(40):
        calibration.learn(TokenCount(100 + number, 90, 110, "exact", "qwen"), 130 + number, **KIND)
    assert calibration.correct(count, **KIND).tokens == 130
    assert calibration.correct(count, **(KIND | other)) is count
    stand_in = TokenCount(100, 90, 110, "stand-in", "qwen")
    assert calibration.correct(stand_in, **KIND) is stand_in


@pytest.mark.parametrize(
    ("overhead", "factor"),
    [
        pytest.param(0, 1.2, id="a new vocabulary"),
        pytest.param(40, 1.0, id="a new frame"),
        pytest.param(0, 0.85, id="fewer"),
    ],
)
def test_a_vendors_change_is_noticed_once_and_learnt_anew(
    overhead: int, factor: float, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(3)
    clock = Clock()
    calibration = Calibration(now=clock)

    def call(overhead: int, factor: float) -> bool:
        count = counted(ZH, rng)
        assert count.tokens is not None
        said = round((overhead + factor * count.tokens) * (1 + rng.gauss(0, 0.005)))
        return calibration.learn(count, said, **KIND)

    with caplog.at_level(logging.WARNING, "tokenmeter"):
        assert not any(call(5, 1.0) for _ in range(100))
        assert calibration.changes("alibaba", "qwen-plus") == ()
        noticed = [call(5 + overhead, factor) for _ in range(60)]
    assert sum(noticed) == 1
    assert noticed.index(True) < 12
    assert len([one for one in caplog.records if "in another way since" in one.getMessage()]) == 1
    assert "qwen-plus" in caplog.text
    [flag] = calibration.changes("alibaba", "qwen-plus")
    assert "input tokens (zh) are counted in another way since 2026-01-01T" in flag
    assert calibration.changes("alibaba", "qwen-max") == ()
    [entry] = calibration.entries()
    assert entry.fit is not None
    assert entry.fit.line.factor == pytest.approx(factor, abs=0.02)
    clock.now += 15 * 86_400
    assert calibration.changes("alibaba", "qwen-plus") == ()


def test_the_package_offers_its_names_and_loads_their_modules_when_asked() -> None:
    from tokenmeter.tokens import calibration

    assert calibration.Store is Store
    assert all(hasattr(calibration, name) for name in calibration.__all__)
    with pytest.raises(AttributeError, match="Stoer"):
        calibration.Stoer  # noqa: B018 - the look-up is the test
