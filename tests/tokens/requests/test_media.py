"""Images, sounds and pages: sizes from bytes, and each vendor's formula on sizes a reader can work out by hand."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.tokens import count_request
from tokenmeter.tokens.requests.media import describe, find, image_size
from tokenmeter.tokens.requests.prompt import Media


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height) + bytes(9)


def jpeg(width: int, height: int) -> bytes:
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"note"
    return b"\xff\xd8" + comment + b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + bytes(8)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(4)


def webp(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + size + bytes(4)


def wav(seconds: float, rate: int = 16_000) -> bytes:
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", 0)
    return head + bytes(int(seconds * rate * 2))


PDF = b"%PDF-1.4\n1 0 obj<</Type/Pages/Count 2>>\n2 0 obj<</Type/Page>>\n3 0 obj<</Type /Page >>\n"


def base(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("make", [png, jpeg, gif, webp], ids=lambda make: make.__name__)
@given(width=st.integers(1, 16_000), height=st.integers(1, 16_000))
def test_the_size_is_in_the_first_bytes(make: Any, width: int, height: int) -> None:
    assert image_size(make(width, height)) == (width, height)


@given(st.binary(max_size=64))
def test_no_bytes_raise(data: bytes) -> None:
    for head in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF0000WEBP", b"GIF8"):
        image_size(head + data)


IMAGE = base(png(640, 480))


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}, id="chat"),
        pytest.param({"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"}, id="responses"),
        pytest.param(
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}, id="anthropic"
        ),
        pytest.param({"inlineData": {"mimeType": "image/png", "data": IMAGE}}, id="gemini"),
        pytest.param({"image": {"format": "png", "source": {"bytes": IMAGE}}}, id="bedrock"),
        pytest.param({"image": f"data:image/png;base64,{IMAGE}"}, id="dashscope"),
    ],
)
def test_every_vendors_image_part_is_measured(part: dict[str, Any]) -> None:
    found = find(part)
    assert found is not None
    medium, texts = found
    assert medium is not None
    assert (medium.kind, medium.width, medium.height, texts) == ("image", 640, 480, [])


def test_pages_seconds_and_inline_text() -> None:
    pdf = describe("document", {"source": {"media_type": "application/pdf", "data": base(PDF)}})
    assert (pdf.kind, pdf.pages) == ("document", 2)
    sound = describe("audio", {"input_audio": {"data": base(wav(1.5)), "format": "wav"}})
    assert sound.kind == "audio"
    assert sound.seconds == pytest.approx(1.5, abs=0.01)
    text = find({"type": "document", "source": {"type": "text", "data": "hello"}, "title": "a"})
    assert text == (Media("text document", detail=""), ["a", "hello"])


@pytest.mark.parametrize(
    ("model", "cited", "more"),
    [
        pytest.param("claude-sonnet-4-5", False, 2 * 36, id="a wrapper each"),
        pytest.param("claude-sonnet-4-5", True, 2 * 36 + 550, id="and the instructions to cite once"),
        pytest.param("deepseek-chat", True, 0, id="nothing is known of other vendors"),
    ],
)
def test_text_documents_are_wrapped_and_cited(model: str, cited: bool, more: int) -> None:
    def asked(*parts: Any) -> int:
        body = {"messages": [{"role": "user", "content": [*parts, {"type": "text", "text": "Who made it?"}]}]}
        count = count_request(body, model=model, api="anthropic.messages")
        assert not count.skipped
        return count.tokens or 0

    source = {"type": "text", "media_type": "text/plain", "data": "Matz made it.\n\n"}
    document = {"type": "document", "source": source, "citations": {"enabled": cited}}
    plain = {"type": "text", "text": source["data"]}
    assert asked(document, document) - asked(plain, plain) == more
