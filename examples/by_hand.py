"""Meter what no hook sees: any transport, any vendor. Runs as it is, with answers made up on the spot.

Three ways: hand over the reply, hand over its text, or hand over the usage.
"""

from __future__ import annotations

import tokenmeter
from tokenmeter import Usage


@tokenmeter.call(provider="zhipu", model="glm-4.6", api="openai.chat")
def ask(prompt: str) -> dict[str, object]:
    """One call by any means; what it returns is read."""
    return {"model": "glm-4.6", "usage": {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}}


def main() -> None:
    with tokenmeter.scope("by hand", team="search") as scope:
        ask("为什么？")

        request = {"model": "spark-x2", "messages": [{"role": "user", "content": "为什么天空是蓝色的？"}]}
        with tokenmeter.call(provider="iflytek", model="spark-x2", request=request) as call:
            for piece in ("因为空气分子", "散射短波长的光，", "这叫瑞利散射。"):  # a WebSocket's frames, say
                call.observe_text(piece)

        with tokenmeter.call(provider="deepseek", model="deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=2000, cache_read_input_tokens=1500, output_tokens=100))

    for currency, money in scope.cost.items():
        print(f"{scope.calls} calls, {money} ({currency}), of which {scope.sources} by source")


if __name__ == "__main__":
    main()
