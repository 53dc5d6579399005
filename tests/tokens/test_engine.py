"""Counts of text: equal to reference tokenizers, graded honestly, safe in any process."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tokenmeter import tokens
from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.engine import BytePairs, load_tokenizer
from tokenmeter.tokens.families import family_names, load_family, match_model

SHIPPED = [name for name in family_names() if load_family(name).vocabulary and load_family(name).shipped]

TEXTS = (
    "Hello, world!",
    "你好，世界。今天天气真好，我们去公园散步吧！",
    "The quick brown fox doesn't jump over 12345 lazy dogs.",
    'def f(x: int) -> str:\n    return f"{x:>10}"\n\n\n',
    "  \u591a\u4e2a  \u7a7a\u683c\t\u548c\n\n\u6362\u884c ",
    "2024年11月22日，GDP增长5.2%，约￥1,234,567.89元",
    "こんにちは、カタカナ゛ー 안녕하세요 привет مرحبا",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 na\xefve caf\xe9 cafe\u0301 \ufdfa",
    "毛泽东 俱乐部 新加坡 阿拉伯 众所周知",
    "<think>let me see</think> <|im_start|>user\nhi<|im_end|>",
    "\x00\x01\u200b\ufeff\u3040\u3000",
    '{"a": [1, 2.5, null], "b": {"c": "d"}} > </td>',
)
# Counted by the vendors' own tokenizer.json in Hugging Face's tokenizers; cl100k, o200k, kimi and tekken, which have
# none in a registry, by their published pattern and ranks in plain Python.
GOLDEN = [
    pytest.param("cl100k", (4, 26, 14, 18, 15, 26, 21, 23, 27, 23, 7, 26), id="cl100k"),
    pytest.param("o200k", (4, 17, 13, 19, 12, 24, 14, 15, 16, 24, 7, 26), id="o200k"),
    pytest.param("qwen", (4, 15, 17, 19, 15, 34, 17, 15, 13, 11, 7, 26), id="qwen"),
    pytest.param("qwen3.5", (4, 13, 17, 20, 12, 34, 11, 21, 19, 11, 7, 26), id="qwen3.5"),
    pytest.param("deepseek-v3", (4, 13, 14, 19, 10, 24, 22, 17, 9, 20, 7, 27), id="deepseek-v3"),
    pytest.param("glm-4", (4, 13, 14, 18, 14, 26, 16, 21, 12, 19, 7, 26), id="glm-4"),
    pytest.param("glm-4.7", (4, 13, 14, 18, 14, 26, 15, 14, 12, 19, 6, 26), id="glm-4.7"),
    pytest.param("minimax", (4, 11, 13, 19, 12, 24, 14, 16, 9, 18, 7, 26), id="minimax"),
    pytest.param("kimi", (4, 13, 13, 19, 12, 24, 24, 19, 9, 14, 7, 26), id="kimi"),
    pytest.param("tekken", (4, 19, 17, 20, 14, 36, 17, 24, 17, 24, 9, 26), id="tekken"),
    pytest.param("gemma", (4, 16, 18, 21, 10, 33, 9, 11, 14, 24, 10, 25), id="gemma"),
]


@pytest.mark.parametrize(("family", "expected"), GOLDEN)
def test_counts_equal_the_reference(family: str, expected: tuple[int, ...]) -> None:
    tokenizer = load_tokenizer(family)
    assert tuple(map(tokenizer.count, TEXTS)) == expected


def test_every_shipped_family_has_golden_counts() -> None:
    alike = {"o200k-harmony"}  # o200k with other special tokens
    assert set(SHIPPED) - alike == {str(row.values[0]) for row in GOLDEN}


@pytest.mark.parametrize(
    ("family", "text", "typed", "as_markers"),
    [
        pytest.param("o200k", "<|endoftext|>", 7, 1, id="OpenAI counts what a user types as text"),
        pytest.param("cl100k", "<|endoftext|>", 7, 1, id="cl100k alike"),
        pytest.param("qwen", "<|im_start|>user", 2, 2, id="Qwen's servers read it"),
        pytest.param("qwen", "<think></think>", 2, 2, id="think marks"),
        pytest.param("deepseek-v3", "<｜User｜>你好", 2, 2, id="DeepSeek"),
        pytest.param("glm-4.7", "[gMASK]<sop>", 2, 2, id="GLM"),
        pytest.param("minimax", "]~!b[", 1, 1, id="MiniMax"),
        pytest.param("gemma", "<h1>a</h1>", 3, 3, id="HTML tags are symbols of Gemma"),
    ],
)
def test_special_tokens(family: str, text: str, typed: int, as_markers: int) -> None:
    tokenizer = load_tokenizer(family)
    assert (tokenizer.count(text), tokenizer.count(text, markers=True)) == (typed, as_markers)


def test_a_page_of_many_tags_counts_as_it_is_encoded() -> None:
    rows = "".join(f"<tr><td>第 {row} 行</td><td>{row % 3}</td></tr>\n  " for row in range(300))
    tokenizer = load_tokenizer("gemma")
    assert isinstance(tokenizer, BytePairs)
    assert tokenizer.count(rows) == len(tokenizer.encode(rows))


@pytest.mark.parametrize("family", SHIPPED)
def test_surrogates_count_as_what_a_server_reads(family: str) -> None:
    tokenizer = load_tokenizer(family)
    assert tokenizer.count("a\ud83d\ude00b") == tokenizer.count("a😀b")
    assert tokenizer.count("a\ud83d b") == tokenizer.count("a\ufffd b")


@pytest.mark.parametrize("family", ["qwen", "qwen3.5", "minimax"])
def test_decomposed_text_is_composed_first(family: str) -> None:
    tokenizer = load_tokenizer(family)
    assert tokenizer.count("cafe\u0301") == tokenizer.count("café")


def test_qwen35_never_emits_its_unreachable_entries() -> None:
    family = load_family("qwen3.5")
    assert len(family.dead) == 201
    assert load_tokenizer("qwen3.5").count("毛泽东") == 3
    assert load_tokenizer("qwen").count("毛泽东") == 1


def test_nothing_is_loaded_before_it_is_needed() -> None:
    script = (
        "import sys; from tokenmeter import tokens\n"
        "heavy = [name for name in ('tiktoken', 'tomllib', 'regex', 'tokenizers') if name in sys.modules]\n"
        "tokens.count_text('hi', model='qwen-plus')\n"
        "from tokenmeter.tokens.engine import loaded_families\n"
        "import tiktoken.registry\n"
        "print(heavy, loaded_families(), tiktoken.registry.ENCODINGS, 'tiktoken_ext.openai_public' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] ('qwen',) {} False"


def test_threads_share_one_vocabulary() -> None:
    counter("kimi-k2")
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda i: counter("kimi-k2").count("今天天气 hello " * (i % 7)), range(200)))
    assert counts == [counter("kimi-k2").count("今天天气 hello " * (i % 7)) for i in range(200)]


def test_preload_loads_in_the_background() -> None:
    script = (
        "from tokenmeter import tokens; tokens.preload('tekken', 'claude-3-opus').join()\n"
        "from tokenmeter.tokens.engine import loaded_families; print(loaded_families())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('tekken', 'cl100k')"


def test_a_tokenizer_json_of_ones_own(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers", reason="Hugging Face's tokenizers (extra [counting]) is not installed")
    if not hasattr(library, "Tokenizer"):
        pytest.skip("Hugging Face's tokenizers (extra [counting]) is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers  # type: ignore[import-not-found,attr-defined,unused-ignore]

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokens.register("words", tmp_path / "tokenizer.json", models=["word-model"])
    count = tokens.count_text("a b c", model="word-model")
    assert (count.tokens, count.method, count.family) == (3, "exact", "words")


def test_a_lost_vocabulary_leaves_the_ratio(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from tokenmeter.tokens import families
    from tokenmeter.tokens.counter import Counter

    lost = families.Family(name="lost", title="Lost", vocabulary="lost", path=Path("/nowhere/lost.toml"), tokens=1)
    families.add_family(lost, ("lost-model",))
    found = Counter("lost-model", None, match_model("lost-model")).estimate("你好，世界")
    assert found.method == "ratio"
    assert None not in (found.low, found.high, found.tokens)
    assert found.low < found.tokens < found.high  # type: ignore[operator]
    assert "lost.vocab" in (found.reason or "")


def test_the_tokenizer_is_our_own_engine() -> None:
    assert isinstance(load_tokenizer("qwen"), BytePairs)
