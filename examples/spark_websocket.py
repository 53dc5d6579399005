"""Meter a WebSocket by hand: iFlytek's Spark, as spark-ai-python or any WebSocket library receives it.

No hook sees frames. The call is opened before the question is sent, each frame is handed over as it came, and the last
one (`header.status` 2) carries the usage; where a connection is lost before it, the text so far is counted. Runs as it
is: `ask` gives frames as Spark's document describes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import tokenmeter


def ask(question: dict[str, Any]) -> Iterator[str]:
    """Stands for `ws.send(json.dumps(question))` and `ws.recv()` until the last frame."""
    for number, text in enumerate(("因为空气分子", "散射短波长的光，", "这叫瑞利散射。")):
        status = 2 if number == 2 else 1
        choices = {"status": status, "seq": number, "text": [{"content": text, "role": "assistant", "index": 0}]}
        frame: dict[str, Any] = {
            "header": {"code": 0, "message": "Success", "sid": "cht000b0001@dx1", "status": status},
            "payload": {"choices": choices},
        }
        if status == 2:
            usage = {"question_tokens": 6, "prompt_tokens": 8, "completion_tokens": 14, "total_tokens": 22}
            frame["payload"]["usage"] = {"text": usage}
        yield json.dumps(frame, ensure_ascii=False)


def answer(text: str) -> str:
    """One question over one connection."""
    messages = [{"role": "user", "content": text}]
    question = {"parameter": {"chat": {"domain": "4.0Ultra"}}, "payload": {"message": {"text": messages}}}
    said = ""
    with tokenmeter.call(
        provider="iflytek", model="4.0Ultra", api="spark.websocket", request={"messages": messages}, stream=True
    ) as call:
        for frame in ask(question):
            call.observe_event(frame)
            said += json.loads(frame)["payload"]["choices"]["text"][0]["content"]
    return said


def main() -> None:
    with tokenmeter.scope("spark") as scope:
        print(answer("为什么天空是蓝色的？"))
    print(scope.calls, "call,", scope.usage["output_tokens"], "tokens out,", *scope.sources)


if __name__ == "__main__":
    main()
