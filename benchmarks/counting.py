"""How fast tokens are counted, beside the bare engine on the same ranks, Hugging Face's tokenizers and litellm.

    python benchmarks/counting.py [--peer PYTHON] [--cache FOLDER] [--families qwen o200k …]

Times are the least of several rounds of CPU time, so a busy machine matters little; compare the ratios, which come
from one run. `--peer` is a Python with `litellm` and `tokenizers`, timed right after us on the same text; `--cache`
is the folder of `python -m tokenmeter.tokens.build`, where the reference tokenizers are. The first count is timed in
fresh processes, with the memory it adds.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from tokenmeter.tokens import count_request
from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.engine import BytePairs, load_tokenizer
from tokenmeter.tokens.families import load_family
from tokenmeter.tokens.streams import TextCounter

ROUNDS: Final = 7
FAMILIES: Final = ("cl100k", "o200k", "qwen", "qwen3.5", "deepseek-v3", "glm-4.7", "minimax", "kimi", "tekken", "gemma")
MODELS: Final = {
    "cl100k": "gpt-4", "o200k": "gpt-4o", "qwen": "qwen-plus", "qwen3.5": "qwen3.5-plus", "glm-4.7": "glm-4.7",
    "deepseek-v3": "deepseek-chat", "minimax": "minimax-m2", "kimi": "kimi-k2", "tekken": "mistral-large-3",
    "gemma": "gemini-2.5-pro",
}  # fmt: skip
TEXTS: Final = {
    "zh": "国家统计局今天发布的数据显示，前三季度国内生产总值同比增长百分之五点二，其中服务业增加值增长较快。"
    "专家认为，随着各项政策继续发力，全年经济有望保持回升向好的态势。\n",
    "en": "The committee said on Tuesday that it would publish its findings before the end of the year, and that it "
    "didn't expect the schedule to change; several members had asked for more time.\n",
    "code": "def settle(self, call: Call, error: BaseException | None = None) -> None:\n    if call.settled:\n"
    '        return\n    call.settled = True  # once\n    self.sinks["otel"].write(call.record(cost=None))\n\n',
}
HARD: Final = {
    "base64": base64.b64encode(hashlib.shake_256(b"counting").digest(3000)).decode(),
    "emoji": "😀👩🏽‍💻🎉❤️🇨🇳👍🏻 " * 40,
    "html": '<div class="a"><p>Prices <b>rise</b> if x < 3 and a[i] > 2.</p></div>\n' * 20,
    "accents": "Überraschung: déjà vu, naïveté, señor, fjärilar på ön; " * 20,
}
"""Texts of which engines make many tokens, or which take other ways than plain prose does."""
SHORT: Final = {
    "prose": ("你好，世界", "Hello, world!", "What is the capital of France?", "今天天气怎么样？请告诉我。"),
    "base64": ("aGVsbG8gd29ybGQsIHRoaXM=", "iVBORw0KGgoAAAANSUhEUgAA"),
    "emoji": ("🎉🎉🎉", "👍🏻 ok 😀", "❤️🇨🇳"),
    "accents": ("Où est la bibliothèque ?", "¿Qué hora es?"),
}
FIRST: Final = """
import resource, sys, time
import tokenmeter.tokens
def held(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
before, wall, start = held(), time.perf_counter(), time.process_time()
tokenmeter.tokens.count_text("你好，world", model=sys.argv[1])
print((time.process_time() - start) * 1000, (time.perf_counter() - wall) * 1000, held() - before)
"""
PEERS: Final = r"""
import json, os, sys, time, warnings
warnings.filterwarnings("ignore")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
job = json.load(sys.stdin)
def least(call, rounds=5):
    answer, best = call(), float("inf")
    for _ in range(rounds):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best, answer
found = {"hugging face": {}, "litellm": {}}
from tokenizers import Tokenizer
for family, path in job["references"].items():
    tokenizer = Tokenizer.from_file(path)
    count = lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    found["hugging face"][family] = {kind: least(lambda: count(text)) for kind, text in job["texts"].items()}
import litellm
for family, model in job["models"].items():
    found["litellm"][family] = {
        kind: least(lambda: litellm.token_counter(model=model, text=text), 3) for kind, text in job["texts"].items()
    }
print(json.dumps(found))
"""


def least(calls: Sequence[Callable[[], object]], number: int = 1, rounds: int = ROUNDS) -> list[float]:
    """Seconds of CPU time of each call, the least of several rounds, taken in turn so that noise meets all alike."""
    for call in calls:
        call()
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start = time.process_time()
            for _ in range(number):
                call()
            best[i] = min(best[i], (time.process_time() - start) / number)
    return best


def long_texts() -> dict[str, str]:
    """Half a million characters of each kind."""
    return {kind: text * (500_000 // len(text)) for kind, text in (TEXTS | HARD).items()}


def bare(family: str) -> Callable[[str], list[int]]:
    """tiktoken's own encode on the same ranks, as a plain user of it would call it."""
    tokenizer = load_tokenizer(family)
    assert isinstance(tokenizer, BytePairs)
    tokenizer.build()
    return tokenizer._core


def throughput(families: Iterable[str], peers: dict[str, Any]) -> None:
    """Long texts: megabytes of UTF-8 a second, and ratios."""
    print("text throughput: MB/s, time over bare tiktoken's; then Hugging Face's and litellm's time over ours")
    for family in families:
        encode, count = bare(family), load_tokenizer(family).count
        for kind, text in long_texts().items():
            ours, engine = least([partial(count, text), partial(encode, text)])
            line = f"  {family:12} {kind:7} {len(text.encode()) / ours / 1e6:6.1f} MB/s  {ours / engine:5.2f}x bare"
            tokens = count(text)
            for name in ("hugging face", "litellm"):
                found = peers.get(name, {}).get(family, {}).get(kind)
                if found is not None:
                    seconds, theirs = found
                    line += f"  {name} {seconds / ours:5.1f}x ({theirs / tokens - 1:+.1%} tokens)"
            print(line)


def short_strings(families: Iterable[str]) -> None:
    """Short texts, where what lies around the engine shows."""
    print("short strings: µs each, and over bare tiktoken's")
    for family in families:
        encode = bare(family)
        counter(MODELS[family]).count("")
        count = counter(MODELS[family]).count
        line = f"  {family:12}"
        for kind, texts in SHORT.items():

            def engine(encode: Callable[[str], list[int]] = encode, texts: Sequence[str] = texts) -> None:
                for text in texts:
                    len(encode(text))

            def ours(count: Callable[[str], int] = count, texts: Sequence[str] = texts) -> None:
                for text in texts:
                    count(text)

            theirs, mine = least([engine, ours], 500)
            line += f"  {kind} {mine / len(texts) * 1e6:5.2f} µs {mine / theirs:5.2f}x"
        print(line)


def requests(families: Iterable[str]) -> None:
    """A request of 20 messages and 5 tools, against the bare encode of its text."""
    print("a request of 20 messages and 5 tools: µs, and over the bare encode of its text in one go")
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"look_up_{number}",
                "description": "Look up the price of an item in a shop near the user.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "item": {"type": "string", "description": "What is looked for"},
                        "unit": {"type": "string", "enum": ["kg", "piece"]},
                    },
                    "required": ["item"],
                },
            },
        }
        for number in range(5)
    ]
    turns = [{"role": ("user", "assistant")[i % 2], "content": TEXTS["en" if i % 3 else "zh"]} for i in range(20)]
    body = {"messages": turns, "tools": tools}
    text = json.dumps(tools, ensure_ascii=False) + "".join(turn["content"] for turn in turns)
    for family in families:
        model, encode = MODELS[family], bare(family)
        ask = partial(count_request, body, model=model, api="openai.chat")
        ours, engine = least([ask, partial(encode, text)], 20)
        print(f"  {family:12} {ours * 1e6:7.0f} µs  {ours / engine:5.2f}x bare ({len(text)} characters)")


def streams(families: Iterable[str]) -> None:
    """What a delta of a stream costs, counting included."""
    print("streams: µs per delta of about four characters")
    for family in families:
        for kind, text in long_texts().items():
            if kind not in TEXTS:
                continue
            text = text[:100_000]
            width = 2 if kind == "zh" else 4
            deltas = [text[start : start + width] for start in range(0, len(text), width)]

            def run(deltas: list[str] = deltas, family: str = family) -> int:
                found = TextCounter(counter(MODELS[family]))
                for delta in deltas:
                    found.feed(delta)
                return found.tokens()

            print(f"  {family:12} {kind:5} {least([run], rounds=4)[0] / len(deltas) * 1e6:5.2f} µs")


def first_counts(families: Iterable[str]) -> None:
    """The first count of a process: import, unpacking and building the vocabulary."""
    print("first count in a process: CPU ms, wall ms, MB added (least of three)")
    for family in families:
        runs = []
        for _ in range(3):
            command = [sys.executable, "-c", FIRST, MODELS[family]]
            runs.append([float(x) for x in subprocess.check_output(command, text=True).split()])
        cpu, wall, memory = (min(run[i] for run in runs) for i in range(3))
        print(f"  {family:12} {cpu:5.0f} ms CPU  {wall:5.0f} ms wall  {memory:5.0f} MB")


def ask_peers(python: str, cache: Path | None, families: Iterable[str]) -> dict[str, Any]:
    """Time the peers on the same texts in their own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        references = {}
        for family in families:
            source = load_family(family).source.get("reference")
            if cache is None or source is None or not source["format"].startswith("tokenizer.json"):
                continue
            from tokenmeter.tokens.build.readers import fetch, tokenizer_json

            path = Path(folder) / f"{family}.json"
            path.write_text(json.dumps(tokenizer_json(fetch(source, cache), source)), encoding="utf-8")
            references[family] = str(path)
        models = {family: MODELS[family] for family in families}
        job = {"references": references, "models": models, "texts": long_texts()}
        done = subprocess.run([python, "-c", PEERS], input=json.dumps(job), capture_output=True, text=True)
    if done.returncode:
        print(f"peers: not timed ({done.stderr.strip().splitlines()[-1]})")
        return {}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    """Print every comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python with litellm and tokenizers")
    parser.add_argument("--cache", type=Path, help="archives of python -m tokenmeter.tokens.build")
    parser.add_argument("--families", nargs="+", default=FAMILIES, choices=FAMILIES)
    args = parser.parse_args()
    first_counts(args.families)
    short_strings(args.families)
    streams(args.families)
    requests(args.families)
    throughput(args.families, ask_peers(args.peer, args.cache, args.families) if args.peer else {})


if __name__ == "__main__":
    main()
