"""Writes tools, calls and schemas into a prompt, in the few shapes that vendors use.

Each renderer returns text in which `\\0` stands for a mark of the family (a special token): one token that merges
with nothing; `\\1` is such a border without a token. What varies between families is data in the rules; what is here
is the shape: a TypeScript namespace (OpenAI), JSON (Qwen, GLM, Kimi, Mistral …), Gemma's declarations, argument tags
(GLM, DeepSeek), bare sums.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tokenmeter.tokens.requests.options import PLAIN, PatternOptions
from tokenmeter.tokens.requests.prompt import Tool, ToolCall
from tokenmeter.tokens.requests.typescript import namespace

__all__ = ["arguments", "as_json", "tools"]

_DEEPEST: Final = 12


def as_json(value: Any, options: PatternOptions = PLAIN) -> str:
    """JSON as the template's server writes it; "" for what is not JSON. Strings that hold JSON stay as they are."""
    if isinstance(value, str):
        return value
    separators = (",", ":") if options.compact else (", " if options.indent is None else ",", ": ")
    try:
        return json.dumps(
            value,
            ensure_ascii=options.ascii,
            separators=separators,
            sort_keys=options.sort,
            indent=options.indent,
        )
    except (TypeError, ValueError, RecursionError):
        return ""


def tools(style: str, offered: Iterable[Tool], options: PatternOptions) -> list[str]:
    """One text per tool, or one for all where the family writes them together."""
    if style == "typescript":
        return [namespace(offered)]
    renderer = _TOOLS.get(style)
    return [renderer(tool, options) for tool in offered] if renderer else []


def _json_tool(tool: Tool, options: PatternOptions) -> str:
    """The declaration as the OpenAI format has it, in the family's order of keys, wrapped or not."""
    inner: dict[str, Any] = {}
    for key in options.keys:
        if key == "name":
            inner["name"] = tool.name
        elif key == "description" and (tool.description or options.empty_description):
            inner["description"] = tool.description
        elif key == "parameters" and (tool.parameters is not None or options.empty_parameters):
            inner["parameters"] = tool.parameters if tool.parameters is not None else {}
        elif key == "strict" and "strict" in tool.raw:
            inner["strict"] = tool.raw["strict"]
    if options.raw:
        inner = dict(tool.raw)
    return as_json({"type": "function", "function": inner} if options.wrap else inner, options)


def _text_tool(tool: Tool, options: PatternOptions) -> str:
    """A sentence about the tool, with its schema as JSON inside."""
    return (
        options.form.replace("{name}", tool.name)
        .replace("{description}", tool.description)
        .replace("{parameters}", as_json(tool.parameters, options))
    )


def _inlined(schema: Any, definitions: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A schema with each `$ref` replaced by what it names, as deep as a prompt would show it."""
    if isinstance(schema, list):
        return [_inlined(one, definitions, depth + 1) for one in schema] if depth < _DEEPEST else []
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return schema
    if definitions is None:
        definitions = {}
        for key in ("$defs", "definitions"):
            found = schema.get(key)
            definitions = {**definitions, **found} if isinstance(found, Mapping) else definitions
        if not definitions:
            return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _inlined(definitions.get(reference.rpartition("/")[2]), definitions, depth + 2)
    return {
        key: _inlined(one, definitions, depth + 1) for key, one in schema.items() if key not in ("$defs", "definitions")
    }


def _gemma_tool(tool: Tool, options: PatternOptions) -> str:
    fields = []
    if tool.description:
        fields.append(f"description:{_quoted(tool.description)}")
    if isinstance(tool.parameters, Mapping):
        fields.append(f"parameters:{_gemma_schema(_inlined(tool.parameters), 0)}")
    return f"\0declaration:{tool.name}{{{','.join(fields)}}}\0"


def _gemma_schema(schema: Mapping[str, Any], depth: int) -> str:
    fields = []
    if isinstance(schema.get("description"), str) and schema["description"]:
        fields.append(f"description:{_quoted(schema['description'])}")
    if isinstance(schema.get("enum"), list):
        fields.append(f"enum:[{','.join(_quoted(one) for one in schema['enum'])}]")
    if isinstance(schema.get("items"), Mapping) and depth < _DEEPEST:
        fields.append(f"items:{_gemma_schema(schema['items'], depth + 1)}")
    if schema.get("nullable") is True:
        fields.append("nullable:true")
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and properties and depth < _DEEPEST:
        inner = (
            f"{name}:{_gemma_schema(one, depth + 1)}" for name, one in properties.items() if isinstance(one, Mapping)
        )
        fields.append(f"properties:{{{','.join(inner)}}}")
    if isinstance(schema.get("required"), list) and schema["required"]:
        fields.append(f"required:[{','.join(_quoted(one) for one in schema['required'])}]")
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list) and depth < _DEEPEST:
            inner = (_gemma_schema(one, depth + 1) for one in schema[key] if isinstance(one, Mapping))
            fields.append(f"{key}:[{','.join(inner)}]")
    if isinstance(schema.get("type"), str):
        fields.append(f"type:{_quoted(schema['type'].upper())}")
    return f"{{{','.join(fields)}}}"


def _quoted(text: object) -> str:
    return f"\0{text}\0"


def _words_tool(tool: Tool, options: PatternOptions) -> str:
    """Every name, description and type apart: endpoints that bill a declaration's words and none of its syntax."""
    schema = tool.parameters
    words = [tool.name, tool.description, *_words(schema, 0)]
    if isinstance(schema, Mapping) and "parameters" in tool.raw and isinstance(schema.get("type"), str):
        words.append(schema["type"])  # a JSON schema given as such is not counted so
    return "\1".join(word for word in words if word)


def _words(schema: object, depth: int) -> Iterable[str]:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return
    for key in ("description", "type") if depth else ():
        if isinstance(schema.get(key), str):
            yield schema[key]
    for key in ("enum", "required"):
        if isinstance(schema.get(key), list):
            yield from map(str, schema[key])
    properties = schema.get("properties")
    for name, one in properties.items() if isinstance(properties, Mapping) else ():
        yield str(name)
        yield from _words(one, depth + 1)
    yield from _words(schema.get("items"), depth + 1)


def _slots_tool(tool: Tool, options: PatternOptions) -> str:
    """Names and descriptions, and marks in the number measured for each parameter's syntax."""
    return f"{tool.name}\1{tool.description}\1{_slots(_inlined(tool.parameters), options, 0)}"


def _slots(schema: object, options: PatternOptions, depth: int) -> str:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return ""
    text: list[str] = []
    properties = schema.get("properties")
    required = schema.get("required")
    for name, one in properties.items() if isinstance(properties, Mapping) else ():
        if not isinstance(one, Mapping):
            continue
        marks = options.parameter
        if not isinstance(required, list) or name not in required:
            marks += options.optional
        if isinstance(one.get("enum"), list):
            marks += options.enum * len(one["enum"])
            text.extend(str(value) + "\1" for value in one["enum"])
        if one.get("type") in ("array", "ARRAY"):
            marks += options.array
        described = one.get("description")
        if isinstance(described, str) and described:
            marks += options.described or 0
            text.append(described + "\1")
        text.append(f"\1{name}" + "\0" * max(0, marks))
        nested = [inner for inner in (one, one.get("items")) if isinstance(inner, Mapping) and inner.get("properties")]
        text.extend("\0" * options.object + _slots(inner, options, depth + 1) for inner in nested)
    return "".join(text)


_TOOLS: Final[Mapping[str, Callable[[Tool, PatternOptions], str]]] = {
    "json": _json_tool,
    "gemma": _gemma_tool,
    "slots": _slots_tool,
    "text": _text_tool,
    "words": _words_tool,
}


def arguments(style: str, call: ToolCall, options: PatternOptions) -> str:
    """The arguments of a call as the family writes them."""
    if style == "sent":
        return call.arguments if isinstance(call.arguments, str) else as_json(call.arguments, options)
    value = call.arguments
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError):
            return str(value)
    if style == "json":
        return as_json(value, options)
    if not isinstance(value, Mapping):
        return as_json(value, options)
    if style == "python":
        return ", ".join(f"{key} = {_literal(one)}" for key, one in value.items())
    if style == "gemma":
        return ",".join(f"{key}:{_gemma_value(one, 0)}" for key, one in value.items())
    if style == "words":
        return "\1".join(
            f"{key}\1{one if isinstance(one, str) else as_json(one, options)}" for key, one in value.items()
        )
    form = options.argument
    return options.between.join(
        form.replace("{key}", str(key))
        .replace("{string}", "true" if isinstance(one, str) else "false")
        .replace("{value}", one if isinstance(one, str) else as_json(one, options))
        for key, one in value.items()
    )


def _literal(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    return as_json(value) if not isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _gemma_value(value: object, depth: int) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return "{" + ",".join(f"{key}:{_gemma_value(one, depth + 1)}" for key, one in value.items()) + "}"
    if isinstance(value, list) and depth < _DEEPEST:
        return "[" + ",".join(_gemma_value(one, depth + 1) for one in value) + "]"
    return as_json(value)


def trimmed(schema: Any, options: PatternOptions, depth: int = 0) -> Any:
    """A schema without the keys this endpoint does not show to the model."""
    drop = options.drop
    if not drop or depth > _DEEPEST:
        return schema
    if isinstance(schema, Mapping):
        return {key: trimmed(one, options, depth + 1) for key, one in schema.items() if key not in drop}
    if isinstance(schema, list):
        return [trimmed(one, options, depth + 1) for one in schema]
    return schema
