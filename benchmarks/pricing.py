"""How long a price takes: warm, first in a process, and by the line; beside genai-prices and litellm in one run.

    python benchmarks/pricing.py [--peer PYTHON] [--lines 200000]

Times are the least of several rounds of CPU time, so a busy machine matters little; compare the ratios. `--peer` is
a Python with `genai-prices` and `litellm`: they are timed there, right after us, on the same call. The first price is
timed in fresh processes of this interpreter: install the wheel to see what a user sees, a checkout reads TOML.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage

ROUNDS: Final = 9
AT: Final = datetime(2026, 11, 20, 3, tzinfo=UTC)
FIRST: Final = """
import time, tokenmeter
start = time.process_time()
from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage
cost = load_book().price(Usage(input_tokens=1000, output_tokens=10), provider="alibaba", model="qwen-plus")
print((time.process_time() - start) * 1000, cost.status == "priced")
"""
PEERS: Final = r"""
import json, os, sys, time, warnings
warnings.filterwarnings("ignore")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import genai_prices, litellm

def least(call, rounds=9, number=300):
    call()
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(number):
            call()
        best = min(best, (time.process_time() - start) / number)
    return best * 1e6

usage = genai_prices.Usage(input_tokens=210_000, output_tokens=500, cache_read_tokens=2_000)
print(json.dumps({
    "genai-prices": least(lambda: genai_prices.calc_price(usage, model_ref="gemini-2.5-pro", provider_id="google")),
    "litellm": least(lambda: litellm.cost_per_token(model="gemini/gemini-2.5-pro", prompt_tokens=210_000,
                                                    completion_tokens=500, cache_read_input_tokens=2_000)),
}))
"""


def least(call: Callable[[], Any], number: int = 5_000) -> float:
    """Microseconds of CPU per call, the least of some rounds."""
    call()
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(number):
            call()
        best = min(best, (time.process_time() - start) / number)
    return best * 1e6


def warm() -> float:
    """Prints ours; returns the one the peers are asked for too."""
    book = load_book()
    usage = Usage(input_tokens=210_000, output_tokens=500, cache_read_input_tokens=2_000)
    print("warm price, microseconds:")
    shared = 0.0
    for provider, model, params in (
        ("google", "gemini-2.5-pro", None),
        ("alibaba", "qwen-plus", {"thinking": True}),
        ("zhipu", "glm-4.7", None),
        ("deepseek", "deepseek-v4-flash", None),
    ):

        def price(provider: str = provider, model: str = model, params: Any = params) -> Any:
            return book.price(usage, provider=provider, model=model, at=AT, params=params)

        assert price().status == "priced", price().reason
        took = least(price)
        shared = shared or took
        charges = least(lambda price=price: price().charges)
        print(f"    {provider + ' ' + model:<32} {took:7.2f}    with its charges looked at {charges:7.2f}")
    return shared


def first() -> None:
    """The first price of a process, import of the book included."""
    times = [
        float(
            subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True).stdout.split()[0]
        )
        for _ in range(ROUNDS)
    ]
    print(f"first price of a process (alibaba): {min(times):.1f} ms")


def lines(count: int) -> None:
    """`tokenmeter price --jsonl`, lines a second of CPU, starting the command included."""
    calls = [("alibaba", "qwen-plus"), ("deepseek", "deepseek-v4-flash"), ("openai", "gpt-4o"), ("zhipu", "glm-4.7")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls.jsonl"
        with file.open("w") as out:
            for number in range(count):
                provider, model = calls[number % len(calls)]
                usage = {"input_tokens": number % 150_000, "output_tokens": number % 900, "cache_read_input_tokens": 0}
                at = f"2026-11-{number % 20 + 1:02d}T{number % 24:02d}:30:00+08:00"
                line = {"id": number, "provider": provider, "model": model, "at": at, "usage": usage}
                out.write(json.dumps(line) + "\n")
        import resource

        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(
            [sys.executable, "-m", "tokenmeter.cli", "price", "--jsonl", str(file)],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        took = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(f"price --jsonl: {count} lines in {took:.2f} s of CPU, {count / took:,.0f} a second")


def memory() -> None:
    """What a loaded provider holds."""
    book = load_book()
    usage = Usage(input_tokens=1, output_tokens=1)
    for provider in ("openai", "alibaba"):
        tracemalloc.start()
        fresh = type(book)()
        fresh.price(usage, provider=provider, model="gpt-4o")
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        print(f"memory of a loaded provider ({provider}): {held / 1e6:.2f} MB")


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter with genai-prices and litellm")
    parser.add_argument("--lines", type=int, default=200_000)
    args = parser.parse_args()
    ours = warm()
    if args.peer:
        run = subprocess.run([args.peer, "-c", PEERS], capture_output=True, text=True, check=True)
        print("the first of these calls by others, microseconds (and times ours):")
        for name, took in json.loads(run.stdout.splitlines()[-1]).items():
            print(f"    {name:<32} {took:7.2f}    {took / ours:.1f}x")
    first()
    lines(args.lines)
    memory()


if __name__ == "__main__":
    main()
