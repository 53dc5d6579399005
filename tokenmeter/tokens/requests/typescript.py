"""Renders tools as OpenAI shows them to its models: types in a TypeScript namespace.

The shape is not documented by the vendor. It was found in what models repeat and what prompts bill: comments above
properties from `title` and `description` (each line apart, blank ones dropped), `?` for what is not required, unions
for enums, defaults behind the type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tokenmeter.tokens.requests.prompt import Tool

__all__ = ["namespace", "uncommented"]

_DEEPEST: Final = 10
_SCALARS: Final = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean", "null": "null"}
_BOUNDS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
"""Keys written as a comment of their own above the property."""


def namespace(offered: Iterable[Tool]) -> str:
    """All tools in one `namespace functions { … }`."""
    lines = ["namespace functions {", ""]
    for tool in offered:
        schema = tool.parameters if isinstance(tool.parameters, Mapping) else {}
        lines += _comment(tool.description)
        lines += _comment(tool.grammar)
        lines += _comment(schema.get("title"))
        lines += _comment(schema.get("description"))
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and properties:
            lines += [f"type {tool.name} = (_: {{", *_Writer(schema).properties(schema, 0), "}) => any;", ""]
        else:
            lines += [f"type {tool.name} = () => any;", ""]
    lines.append("} // namespace functions")
    return "\n".join(lines)


def uncommented(tool: Tool) -> bool:
    """Whether a tool has properties and none of them is commented: those bill one token less."""
    properties = tool.parameters.get("properties") if isinstance(tool.parameters, Mapping) else None
    if not isinstance(properties, Mapping) or not properties:
        return False
    return not any(
        isinstance(one, Mapping) and any(one.get(key) is not None for key in ("title", "description", *_BOUNDS))
        for one in properties.values()
    )


def _comment(text: object) -> list[str]:
    if not isinstance(text, str):
        return []
    return [f"// {line.strip()}" for line in text.split("\n") if line.strip()]


class _Writer:
    """Writes the types of one tool; `$ref` is followed into the tool's own definitions."""

    __slots__ = ("_definitions",)

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._definitions: dict[str, Any] = {}
        for key in ("$defs", "definitions"):
            if isinstance(schema.get(key), Mapping):
                self._definitions.update(schema[key])

    def properties(self, schema: Mapping[str, Any], depth: int) -> Iterator[str]:
        required = schema.get("required")
        required = required if isinstance(required, list) else []
        for name, one in schema["properties"].items():
            tail = ""
            written = self.type(one, depth)
            if isinstance(one, Mapping):
                named = {**self._target(one), **one}
                yield from _comment(named.get("title"))
                yield from _comment(named.get("description"))
                yield from (f"// {key}: {_json(one[key])}" for key in _BOUNDS if one.get(key) is not None)
                if "default" in one:
                    tail = f" // default: {_json(one['default'])}"
                    if one["default"] is None and "null" not in written:
                        written += " | null"
            yield f"{name}{'' if name in required else '?'}: {written},{tail}"

    def _target(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """The definition that a `$ref` names; nothing where there is none."""
        reference = schema.get("$ref")
        found = self._definitions.get(reference.rpartition("/")[2]) if isinstance(reference, str) else None
        return found if isinstance(found, Mapping) else {}

    def type(self, schema: object, depth: int) -> str:
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return "any"
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self.type(self._definitions.get(reference.rpartition("/")[2]), depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(schema.get(key), list):
                return " | ".join(self.type(one, depth + 1) for one in schema[key])
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return " | ".join(_json(one) for one in schema["enum"])
        if "const" in schema:
            return _json(schema["const"])
        kind = schema.get("type")
        if isinstance(kind, list):
            return " | ".join(_SCALARS.get(str(one), str(one)) for one in kind)
        properties = schema.get("properties")
        if isinstance(properties, Mapping) and properties:
            return "\n".join(("{", *self.properties(schema, depth + 1), "}"))
        if kind == "array":
            return f"{self.type(schema['items'], depth + 1)}[]" if schema.get("items") else "any[]"
        return "object" if kind == "object" else _SCALARS.get(str(kind), "any")


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return "any"
