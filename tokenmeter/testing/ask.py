"""The parsed request from which a wire format builds its answer.

Equal requests get equal answers, ids included, so that tests compare a metered and an unmetered call field by field.
`stream_options`, which a meter may add, changes neither text nor id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenmeter.testing.dialects import Numbers, ServerDialect
from tokenmeter.testing.faults import Faults

__all__ = ["CREATED", "Ask", "sample"]

CREATED: Final = 1_760_000_000
"""The `created` of every answer: 2025-10-09T08:53:20Z."""

_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("The ", "price ", "of a ", "call ", "is ", "known. "),
    "zh": ("每次", "调用的", "价格", "，都", "清楚", "明白。"),
    "mixed": ("模型 ", "returns ", "用量", "，and ", "价格 ", "is 已知。"),
}
_THOUGHTS: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("Let ", "me ", "think. "),
    "zh": ("让我", "想一想。"),
    "mixed": ("Let me ", "想一想。"),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """A parsed request: body, model without suffix, faults, and the dialect of the provider."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    model: str
    faults: Faults
    dialect: ServerDialect

    @property
    def id(self) -> str:
        """Twelve hex digits of a hash of the request, without `stream_options`."""
        content = {name: value for name, value in self.body.items() if name != "stream_options"}
        text = json.dumps([self.path, self.model, content], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def numbers(self) -> Numbers:
        faults = self.faults
        sign = -1 if faults.usage == "negative" else 1
        return Numbers(sign * faults.tokens_in, sign * faults.tokens_out, faults.cached, faults.reasoning)

    def words(self) -> list[str]:
        """The answer's text in the pieces of a stream; JSON if the request asks for it."""
        schema = self.schema()
        if schema is not None:
            text = json.dumps(sample(schema), ensure_ascii=False)
            return [text[start : start + 8] for start in range(0, len(text), 8)]
        cycle = _WORDS[self.faults.lang]
        return [cycle[number % len(cycle)] for number in range(6 if self.faults.chunks is None else self.faults.chunks)]

    def thoughts(self) -> list[str]:
        """Reasoning in pieces; empty unless reasoning tokens were asked for and this provider shows it."""
        return list(_THOUGHTS[self.faults.lang]) if self.faults.reasoning and self.dialect.visible_reasoning else []

    def schema(self) -> Mapping[str, Any] | None:
        """The JSON schema the answer must keep to; an empty one for JSON of any kind."""
        wanted = self.body.get("response_format") or (self.body.get("text") or {}).get("format") or {}
        if wanted.get("type") == "json_schema":
            return (wanted.get("json_schema") or wanted).get("schema") or {}
        return {"type": "object"} if wanted.get("type") == "json_object" else None

    def tool(self) -> tuple[str, str] | None:
        """The call of the first tool offered, as name and arguments, unless a tool has just answered."""
        tools = self.body.get("tools")
        if not tools or self.body.get("tool_choice") == "none" or self._tool_answered():
            return None
        function = tools[0].get("function") or tools[0]
        if not function.get("name"):
            return None
        schema = function.get("parameters") or function.get("input_schema") or {}
        return function["name"], json.dumps(sample(schema), ensure_ascii=False)

    def _tool_answered(self) -> bool:
        turns = self.body.get("messages") or self.body.get("input")
        if not isinstance(turns, list) or not turns or not isinstance(turns[-1], Mapping):
            return False
        last = turns[-1]
        if last.get("role") == "tool" or last.get("type") == "function_call_output":
            return True
        content = last.get("content")
        return isinstance(content, list) and any(
            isinstance(part, Mapping) and part.get("type") == "tool_result" for part in content
        )


def sample(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """The smallest value a JSON schema allows: first choice of an enum, every required property."""
    root = schema if root is None else root
    if "$ref" in schema:
        target: Any = root
        for step in schema["$ref"].lstrip("#/").split("/"):
            target = target[step]
        return sample(target, root)
    for several in ("enum", "anyOf", "oneOf", "allOf"):
        if schema.get(several):
            first = schema[several][0]
            return first if several == "enum" else sample(first, root)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    match str(kind).lower():
        case "object":
            known = schema.get("properties") or {}
            return {name: sample(known[name], root) for name in schema.get("required", known) if name in known}
        case "array":
            return [sample(schema.get("items") or {"type": "string"}, root)]
        case "integer":
            return 3
        case "number":
            return 2.5
        case "boolean":
            return True
        case "null":
            return None
    return schema.get("const", "杭州")
