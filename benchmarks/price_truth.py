"""The same calls priced by other libraries and by us, beside what the vendor bills.

    python benchmarks/price_truth.py [--peer PYTHON]

Each row is a call whose true price is documented by the vendor. `--peer` is a Python with `genai-prices`, `litellm`,
`model-prices` and `tokencost` installed (any of them may be missing); they run in that interpreter, so this project
does not depend on them. A peer that knows no price, raises, or answers in another currency is shown as it answers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any, Final

import tokenmeter
from tokenmeter import Usage

M: Final = 1_000_000
DAY: Final = "2026-11-01T00:00:00+00:00"
JUNE: Final = "2024-06-01T00:00:00+00:00"
# what, provider, model, input, output, instant, the vendor's price
ROWS: Final = (
    ("a Saturday", "deepseek", "deepseek-v4-flash", M, M, "2026-11-21T02:00:00+00:00", "0.75 USD"),
    ("National Day", "deepseek", "deepseek-v4-flash", M, M, "2026-10-05T02:00:00+00:00", "0.75 USD"),
    ("a working morning", "deepseek", "deepseek-v4-flash", M, M, "2026-11-20T02:00:00+00:00", "1.5 USD"),
    ("as it is now", "deepseek", "deepseek-chat", M, M, "2026-11-21T02:00:00+00:00", "0.75 USD"),
    ("June 2024", "openai", "gpt-4o", M, 0, JUNE, "5 USD"),
    ("50,000 in", "zhipu", "glm-4.7", 50_000, 1_000, DAY, "0.216 CNY"),
    ("March 2025", "moonshot", "moonshot-v1-8k", M, M, "2025-03-01T00:00:00+00:00", "24 CNY"),
    ("second tier", "alibaba", "qwen-plus", 128_001, 1_000, DAY, "0.3272024 CNY"),
    ("June 2024", "volcengine", "doubao-pro-32k", M, M, JUNE, "2.8 CNY"),
    ("free since May", "baidu", "ERNIE-Speed", M, M, JUNE, "0 CNY"),
    ("June 2024", "tencent", "hunyuan-standard", M, M, JUNE, "9.5 CNY"),
    ("above 200,000", "anthropic", "claude-sonnet-4-5", 200_001, 1_000, "2025-11-01T00:00:00+00:00", "1.222506 USD"),
    ("exactly 200,000", "xai", "grok-4.3", 200_000, 1_000, DAY, "0.505 USD"),
)
CALLS: Final[list[dict[str, Any]]] = [
    dict(zip(("what", "provider", "model", "in", "out", "at", "true"), row, strict=True)) for row in ROWS
]

# Runs in the peers' interpreter: one JSON object per call, library to answer.
PEERS: Final = r"""
import json, os, sys, warnings
warnings.filterwarnings("ignore")
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LITELLM_LOG"] = "CRITICAL"
from datetime import datetime

def ask(price):
    try:
        return price()
    except Exception as error:
        return type(error).__name__

def genai(call):
    from genai_prices import Usage, calc_price
    provider = {"alibaba": None, "volcengine": None, "baidu": None, "tencent": None, "zhipu": "zhipuai",
                "moonshot": "moonshotai", "xai": "x-ai"}.get(call["provider"], call["provider"])
    found = calc_price(Usage(input_tokens=call["in"], output_tokens=call["out"]), model_ref=call["model"],
                       provider_id=provider, genai_request_timestamp=datetime.fromisoformat(call["at"]))
    return f"{found.total_price.normalize():f} USD"

def litellm(call):
    import litellm as peer
    peer.suppress_debug_info = True
    prefix = {"alibaba": "dashscope", "zhipu": "zai"}.get(call["provider"], call["provider"])
    parts = peer.cost_per_token(model=call["model"], custom_llm_provider=prefix,
                                prompt_tokens=call["in"], completion_tokens=call["out"])
    return f"{sum(parts):.9g} USD"

def model_prices(call):
    import model_prices as peer
    found = peer.cost(call["model"], input_tokens=call["in"], output_tokens=call["out"], at=call["at"])
    return f"{getattr(found, 'total', found)} USD"

def tokencost(call):
    import tokencost as peer
    one = peer.calculate_cost_by_tokens(call["in"], call["model"], "input")
    two = peer.calculate_cost_by_tokens(call["out"], call["model"], "output")
    return f"{(one + two).normalize():f} USD"

for line in sys.stdin:
    call = json.loads(line)
    peers = (("genai-prices", genai), ("litellm", litellm), ("model-prices", model_prices), ("tokencost", tokencost))
    print(json.dumps({name: ask(lambda: price(call)) for name, price in peers}), flush=True)
"""


def ours(call: dict[str, Any]) -> str:
    """Our answer, through the public API."""
    cost = tokenmeter.price(
        Usage(input_tokens=call["in"], output_tokens=call["out"]),
        provider=call["provider"],
        model=call["model"],
        at=call["at"],
        currency=call["true"].split()[1],  # DeepSeek has two lists: the one the row is about
    )
    return str(cost.total) if cost.total is not None else str(cost.reason)


def peers(python: str) -> list[dict[str, str]]:
    """What the other libraries answer, in their own interpreter."""
    text = "\n".join(json.dumps(call) for call in CALLS) + "\n"
    run = subprocess.run([python, "-c", PEERS], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def main() -> int:
    """Print the table; 1 if one of our own answers is not the vendor's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter with the other libraries")
    args = parser.parse_args()
    theirs = peers(args.peer) if args.peer else [{} for _ in CALLS]
    wrong = 0
    for call, others in zip(CALLS, theirs, strict=True):
        answer = ours(call)
        wrong += answer != call["true"]
        what = f"{call['model']}, {call['what']}"
        mark = "" if answer == call["true"] else "  <-"
        print(f"{what:<40} vendor {call['true']:<16} tokenmeter {answer}{mark}")
        for name, other in others.items():
            print(f"    {name:<14} {other}")
    print(f"{len(CALLS) - wrong} of {len(CALLS)} calls are priced as the vendor does")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
