"""Tencent Cloud's native API: every action is posted to /, errors are answers with status 200, usage runs along."""

from __future__ import annotations

import re
from typing import Any, Final

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.dialects import Numbers
from tokenmeter.testing.reply import Reply, json_reply, sse

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "tencent.chat"
PATH: Final = re.compile(r"^/$")
STREAM_TYPE: Final = "text/event-stream"  # the SDK wants exactly this


def answer(ask: Ask) -> Reply:
    """A chat, whole or as events, or vectors: the action stands in a header."""
    if ask.headers.get("x-tc-action") == "GetEmbedding":
        data = [{"Embedding": [0.25, -0.5], "Index": 0, "Object": "embedding"}]
        usage = {"PromptTokens": ask.numbers.input, "TotalTokens": ask.numbers.input}
        return json_reply({"Response": {"Data": data, "Usage": usage, "RequestId": ask.id}})
    words = ask.words()
    if not ask.body.get("Stream"):
        message = {"Role": "assistant", "Content": "".join(words)}
        return json_reply({"Response": _body(ask, {"Message": message}, "stop", ask.numbers) | {"RequestId": ask.id}})
    frames = []
    for number, word in enumerate(words, 1):
        finish = "stop" if number == len(words) else ""
        delta = {"Delta": {"Role": "assistant", "Content": word}}
        frames.append(sse(_body(ask, delta, finish, ask.numbers.so_far(number, len(words)))))
    failure = sse({**_body(ask, {"Delta": {}}, "", ask.numbers), "ErrorMsg": {"Code": 500, "Msg": "Internal error"}})
    return Reply(200, frames, STREAM_TYPE, True, error_frame=failure, bad_frame=b'data: {"Choices": [{\n\n')


def refuse(status: int, message: str) -> dict[str, Any]:
    """Tencent Cloud's error body."""
    codes = {401: "AuthFailure.SecretIdNotFound", 429: "LimitExceeded"}
    return {"Response": {"Error": {"Code": codes.get(status, "InternalError"), "Message": message}, "RequestId": "r"}}


def _body(ask: Ask, choice: dict[str, Any], finish: str, numbers: Numbers) -> dict[str, Any]:
    usage = {"PromptTokens": numbers.input, "CompletionTokens": numbers.output}
    usage["TotalTokens"] = numbers.input + numbers.output
    body: dict[str, Any] = {"Created": CREATED, "Id": ask.id, "Choices": [{**choice, "FinishReason": finish}]}
    return body if ask.faults.usage == "none" else {**body, "Usage": usage}
