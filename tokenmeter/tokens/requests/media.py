"""Reads kind and size of the images, sounds, films and files in a request, from the bytes it carries.

Only headers are looked at: the first kilobytes of an image, the header of a WAV, the page objects of a PDF. A URL
or a file id has no size, so sizes stay None and the formulas answer with their default, least and greatest.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.tokens.requests.prompt import CITED, TEXT_DOCUMENT, Media

__all__ = ["describe", "find", "image_size"]

_HEAD: Final = 65_536
_PDF_MOST: Final = 4_000_000
_DATA_URL: Final = re.compile(r"data:([^;,]*)[^,]*?(;base64)?,", re.ASCII)
_PAGE: Final = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_COUNT: Final = re.compile(rb"/Count\s+(\d{1,6})")
_KINDS: Final = {"image": "image", "audio": "audio", "video": "video", "text": "text", "application": "document"}
_BY_TYPE: Final = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "audio": "audio",
    "video_url": "video",
    "video": "video",
    "file": "document",
    "input_file": "document",
    "document": "document",
    "document_url": "document",
    "container_upload": "document",
}
_PAYLOADS: Final = (
    "image_url",
    "input_audio",
    "audio_url",
    "video_url",
    "file",
    "source",
    "inlineData",
    "inline_data",
    "fileData",
    "file_data",
    "image",
    "audio",
    "video",
    "document",
    "document_url",
    "data",
    "bytes",
    "url",
    "uri",
)
_FORMATS: Final = {"jpg": "image", "jpeg": "image", "png": "image", "gif": "image", "webp": "image", "pdf": "document"}


def find(part: Mapping[str, Any]) -> tuple[Media | None, list[str]] | None:
    """The media of one content part and the texts inside it (a text document); None where it is no media."""
    kind = _BY_TYPE.get(str(part.get("type")))
    if kind is None:
        kind = next((_BY_TYPE[key] for key in ("image", "video", "audio", "document") if key in part), None)
    if kind is None and not any(key in part for key in ("inlineData", "inline_data", "fileData", "file_data")):
        return None
    titles = [str(part[key]) for key in ("title", "context") if isinstance(part.get(key), str)]
    source, citations = part.get("source"), part.get("citations")
    cited = CITED if isinstance(citations, Mapping) and citations.get("enabled") is True else ""
    if isinstance(source, Mapping) and source.get("type") in ("text", "content"):
        return Media(TEXT_DOCUMENT, detail=cited), titles + _texts(source.get("data", source.get("content")))
    medium = describe(kind or "document", part)
    medium.detail = cited or medium.detail
    return (None, [text]) if (text := _inline_text(part, 0)) is not None else (medium, titles)


def describe(kind: str, part: object) -> Media:
    """Kind and size of one piece of media, wherever in the part its bytes are."""
    medium = Media(kind)
    if isinstance(part, Mapping):
        for holder in (part, part.get("image_url"), part.get("mediaResolution")):
            if isinstance(holder, Mapping):
                for key in ("detail", "resolution", "level"):
                    if isinstance(holder.get(key), str):
                        medium.detail = holder[key]
    mime, payload = _payload(part, 0)
    if mime:
        medium.kind = _KINDS.get(mime.split("/")[0], medium.kind)
        medium.kind = "document" if medium.kind == "text" else medium.kind
    if payload:
        _measure(medium, payload)
    return medium


def _payload(value: object, depth: int) -> tuple[str, str]:
    """Mime type and base64 text, searched through the names vendors give the holder."""
    if isinstance(value, str):
        match = _DATA_URL.match(value)
        if match:
            return match[1], value[match.end() :] if match[2] else ""
        if depth == 0 or (len(value) > 24 and "://" not in value[:12]):
            return "", value
        return "", ""
    if not isinstance(value, Mapping) or depth > 4:
        return "", ""
    mime = next((value[key] for key in ("media_type", "mimeType", "mime_type") if isinstance(value.get(key), str)), "")
    form = value.get("format")
    if not mime and isinstance(form, str):
        mime = f"{_FORMATS.get(form, 'audio' if form in ('wav', 'mp3') else 'application')}/{form}"
    for key in _PAYLOADS:
        inner = value.get(key)
        if inner is not None:
            found, payload = _payload(inner, depth + 1)
            if found or payload:
                return found or mime, payload
    return mime, ""


def _inline_text(part: Mapping[str, Any], depth: int) -> str | None:
    """The text of a file that is plain text."""
    mime, payload = _payload(part, depth)
    if not mime.startswith("text/") or not payload:
        return None
    return _decode(payload, len(payload)).decode("utf-8", "replace")


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    found = []
    for one in value if isinstance(value, list) else ():
        text = one.get("text") if isinstance(one, Mapping) else one
        if isinstance(text, str):
            found.append(text)
    return found


def _decode(payload: str, most: int) -> bytes:
    """At most `most` characters of base64, url-safe alphabet included; nothing where it is not base64."""
    text = payload[: most - most % 4].replace("-", "+").replace("_", "/")
    try:
        return b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _measure(medium: Media, payload: str) -> None:
    head = _decode(payload, _HEAD)
    if size := image_size(head):
        medium.kind = "image"
        medium.width, medium.height = size
    elif head[:4] == b"%PDF":
        medium.kind = "document"
        medium.pages = _pdf_pages(_decode(payload, _PDF_MOST))
    elif head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        medium.kind = "audio"
        rate = int.from_bytes(head[28:32], "little")
        if rate:
            medium.seconds = max(0, len(payload) * 3 // 4 - 44) / rate


def image_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from the first bytes of a PNG, GIF, WebP or JPEG; None for anything else."""
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if head[:4] == b"GIF8" and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and len(head) >= 30:
        return _webp(head)
    if head[:2] == b"\xff\xd8":
        return _jpeg(head)
    return None


def _webp(head: bytes) -> tuple[int, int]:
    form = head[12:16]
    if form == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if form == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _jpeg(head: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(head):
        if head[at] != 0xFF:
            at += 1
            continue
        marker = head[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        at += 2 if marker == 0xFF or 0xD0 <= marker <= 0xD9 else 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def _pdf_pages(data: bytes) -> int | None:
    """Page objects; where they are packed into object streams, the greatest /Count that is readable."""
    pages = len(_PAGE.findall(data))
    return pages or max((int(number) for number in _COUNT.findall(data)), default=0) or None
