"""Meter a realtime session: one connection, and one billed call for each response in it.

The session is a scope; a call begins with `response.created` and ends with `response.done`, whose usage has tokens of
text and of sound apart, since they cost differently. Runs as it is: `events` gives what the OpenAI SDK's
`connection.recv()` would, as plain mappings; its objects may be handed over as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import tokenmeter


def events() -> Iterator[dict[str, Any]]:
    """Stands for `async for event in connection`."""
    for number, (heard, said) in enumerate(((13, 91), (40, 60))):
        response: dict[str, Any] = {"id": f"resp_{number}", "object": "realtime.response", "status": "in_progress"}
        yield {"type": "response.created", "response": response}
        yield {"type": "response.output_audio_transcript.delta", "response_id": response["id"], "delta": "Blue."}
        usage = {
            "total_tokens": 119 + heard + 30 + said,
            "input_tokens": 119 + heard,
            "output_tokens": 30 + said,
            "input_token_details": {"text_tokens": 119, "audio_tokens": heard, "cached_tokens": 64},
            "output_token_details": {"text_tokens": 30, "audio_tokens": said},
        }
        yield {"type": "response.done", "response": {**response, "status": "completed", "usage": usage}}


def main() -> None:
    connection = events()
    with tokenmeter.scope("conversation") as session:
        for event in connection:
            if event["type"] == "response.created":
                with tokenmeter.call(provider="openai", model="gpt-4o-realtime", stream=True) as call:
                    done = next(event for event in connection if event["type"] == "response.done")
                    call.observe(done["response"])
    print(session.calls, "calls,", session.usage["audio_input_tokens"], "tokens heard,", *session.cost.values())


if __name__ == "__main__":
    main()
