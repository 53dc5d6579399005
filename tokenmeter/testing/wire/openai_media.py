"""OpenAI's images, transcriptions and speech: bodies that are not chat, some billed by tokens, some by the second."""

from __future__ import annotations

import base64
import re
from typing import Any, Final

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply
from tokenmeter.testing.wire.openai_chat import error_event, refuse

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "openai.media"
PATH: Final = re.compile(r"/(?:images/(?:generations|edits)|audio/(?:transcriptions|translations|speech))$")
_PIXEL: Final = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


def answer(ask: Ask) -> Reply:
    """An image, a transcript or a sound."""
    if ask.path.endswith("/speech"):
        return Reply(200, [b"RIFF\x24\x00\x00\x00WAVEfmt "], "audio/wav")
    return _image(ask) if "/images/" in ask.path else _transcript(ask)


def _image_usage(ask: Ask) -> dict[str, Any]:
    numbers = ask.numbers
    return {
        "input_tokens": numbers.input,
        "input_tokens_details": {"text_tokens": numbers.input, "image_tokens": 0},
        "output_tokens": numbers.output,
        "total_tokens": numbers.input + numbers.output,
    }


def _image(ask: Ask) -> Reply:
    if not ask.stream:
        return json_reply({"created": CREATED, "data": [{"b64_json": _PIXEL}], "usage": _image_usage(ask)})
    common = {"created_at": CREATED, "b64_json": _PIXEL, "size": "1024x1024", "quality": "high"}
    common |= {"background": "opaque", "output_format": "png"}
    partial = {"type": "image_generation.partial_image", "partial_image_index": 0, **common}
    whole = {"type": "image_generation.completed", **common, "usage": _image_usage(ask)}
    return sse_reply([sse(partial, str(partial["type"])), sse(whole, str(whole["type"]))], error_event())


def _transcript(ask: Ask) -> Reply:
    numbers = ask.numbers
    words = ask.words()
    usage: dict[str, Any] = {
        "type": "tokens",
        "input_tokens": numbers.input,
        "input_token_details": {"text_tokens": 0, "audio_tokens": numbers.input},
        "output_tokens": numbers.output,
        "total_tokens": numbers.input + numbers.output,
    }
    if ask.model.startswith("whisper"):
        usage = {"type": "duration", "seconds": 7}
    if not ask.stream:
        return json_reply({"text": "".join(words), "usage": usage})
    frames = [sse({"type": "transcript.text.delta", "delta": word}, "transcript.text.delta") for word in words]
    done = {"type": "transcript.text.done", "text": "".join(words), "usage": usage}
    return sse_reply([*frames, sse(done, "transcript.text.done")], error_event())
