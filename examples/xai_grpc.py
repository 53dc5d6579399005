"""Meter gRPC by hand: xai-sdk, whose answers are protobuf and never pass an HTTP library.

`observe` reads what can be turned into plain data; of a protobuf message that is what MessageToDict gives, with the
field names as they are declared. Reasoning stands beside the completion here and is added to the output, as it is
billed. With xai-sdk installed, `chat.sample()` gives the response; the message of the example is put together by hand.
"""

from __future__ import annotations

from typing import Any

import tokenmeter


def sample(prompt: str) -> dict[str, Any]:
    """Stands for `MessageToDict(chat.sample().proto, preserving_proto_field_name=True)`."""
    usage = {
        "prompt_tokens": 453,
        "prompt_text_tokens": 453,
        "cached_prompt_text_tokens": 160,
        "completion_tokens": 57,
        "reasoning_tokens": 182,
        "total_tokens": 692,
    }
    return {"id": "r-1", "model": "grok-4", "outputs": [{"message": {"content": "Blue."}}], "usage": usage}


def main() -> None:
    with (
        tokenmeter.scope("grok") as scope,
        tokenmeter.call(provider="xai", model="grok-4", api="xai.grpc", request={"messages": ["…"]}) as call,
    ):
        call.observe(sample("Why is the sky blue?"))
    print(scope.calls, "call,", scope.usage["output_tokens"], "tokens out,", *scope.cost.values())


if __name__ == "__main__":
    main()
