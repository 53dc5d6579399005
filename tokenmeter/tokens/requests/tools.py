"""Reads the tools a request offers, the schema it asks for, and which tool must be called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from tokenmeter.tokens.requests.prompt import OutputSchema, Prompt, Tool

__all__ = ["first", "items", "read_choice", "read_offered_tools", "read_schema", "read_tools", "skip"]

_DEEPEST: Final = 6
_MOST_SKIPPED: Final = 50
_SCHEMA_KEYS: Final = frozenset(
    ("response_format", "output_format", "text", "output_config", "generationConfig", "outputConfig", "format")
)
_PARAMETERS: Final = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema")


def read_offered_tools(body: Mapping[str, Any], prompt: Prompt, *, flat: bool = False) -> None:
    """The tools of a body; `flat` where the format has a tool's name in the tool itself and ignores `function`."""
    config = body.get("toolConfig")
    for key, value in (
        ("tools", body.get("tools")),
        ("functions", body.get("functions")),
        ("toolConfig.tools", config.get("tools") if isinstance(config, Mapping) else None),
    ):
        if value:
            prompt.legacy_functions |= key == "functions"
            read_tools(_flattened(value) if flat else value, prompt, key)


def _flattened(given: object) -> list[Any]:
    """Tools that have a name of their own, without the `function` beside it."""
    return [
        {key: value for key, value in one.items() if key != "function"}
        if isinstance(one, Mapping) and isinstance(one.get("name"), str)
        else one
        for one in items(given)
    ]


def read_tools(value: object, prompt: Prompt, path: str, depth: int = 0) -> None:
    for index, tool in enumerate(items(value)):
        if type(tool) is dict and tool.get("type") == "function":  # the common tool, kept short
            inner = tool.get("function")
            if type(inner) is dict and isinstance(name := inner.get("name"), str):
                prompt.tools.append(_tool(name, inner))
                continue
        where = f"{path}[{index}]"
        if not isinstance(tool, Mapping) or depth > _DEEPEST:
            skip(prompt, where, tool)
            continue
        nested = tool.get("functionDeclarations", tool.get("function_declarations"))
        if nested is None and tool.get("type") in ("namespace", "tool_search_output"):
            nested = tool.get("tools")
        if nested is not None:
            read_tools(nested, prompt, where, depth + 1)
            continue
        inner = next(
            (tool[key] for key in ("function", "toolSpec", "custom") if isinstance(tool.get(key), Mapping)), tool
        )
        name = inner.get("name")
        kind = tool.get("type")
        if not isinstance(name, str) or (kind not in (None, "function", "custom") and inner is tool):
            prompt.builtins.append(str(kind or next(iter(tool), "tool")))
            continue
        prompt.tools.append(_tool(name, inner))


def _grammar(inner: Mapping[str, Any]) -> str:
    """The grammar that the input of a custom tool follows: nested in its format on chat, flat on responses."""
    given = inner.get("format")
    if given is None:
        return ""
    given = given.get("grammar", given) if isinstance(given, Mapping) else None
    definition = given.get("definition") if isinstance(given, Mapping) else None
    return definition if isinstance(definition, str) else ""


def _tool(name: str, inner: Mapping[str, Any]) -> Tool:
    parameters = first(inner, _PARAMETERS)
    if isinstance(parameters, (dict, Mapping)) and isinstance(parameters.get("json"), Mapping):
        parameters = parameters["json"]  # Bedrock wraps the schema
    description = inner.get("description")
    return Tool(
        name,
        description if isinstance(description, str) else "",
        parameters,
        inner,
        inner.get("strict") is True,
        _grammar(inner),
    )


def read_schema(body: Mapping[str, Any], prompt: Prompt) -> None:
    if _SCHEMA_KEYS.isdisjoint(body):
        return
    for given in _schema_places(body):
        if not isinstance(given, Mapping):
            continue
        if given.get("type") == "json_object":
            prompt.json_mode = True
        inner = given.get("json_schema", given.get("jsonSchema", given))
        inner = inner if isinstance(inner, Mapping) else given
        value = inner.get("schema", None if inner is given and "schema" not in given else inner)
        if inner is given and given.get("type") not in ("json_schema", "json_object", "text"):
            value = given if value is None else value
        if value is not None and (isinstance(value, str) or value):
            name, description = inner.get("name"), inner.get("description")
            prompt.schema = OutputSchema(
                name if isinstance(name, str) else "",
                description if isinstance(description, str) and inner is not value else "",
                value,
                inner.get("strict") is True,
            )
            return


def _schema_places(body: Mapping[str, Any]) -> Iterator[object]:
    yield body.get("response_format")
    yield body.get("output_format")
    for outer, keys in (
        ("text", ("format",)),
        ("output_config", ("format",)),
        ("generationConfig", ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")),
        ("outputConfig", ("textFormat",)),
    ):
        value = body.get(outer)
        if isinstance(value, Mapping):
            for key in keys:
                inner = value.get(key)
                yield inner.get("structure", inner) if isinstance(inner, Mapping) else inner
    yield body.get("format")


def read_choice(choice: Mapping[str, Any]) -> str:
    inner = choice.get("function", choice.get("tool", choice))
    if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
        return f"={inner['name']}"
    if choice.get("type") == "any" or "any" in choice:
        return "required"
    return str(choice.get("type") or "auto")


def first(values: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of the first of these keys that has one."""
    return next((values[key] for key in keys if values.get(key) is not None), None)


def items(value: object) -> list[Any]:
    """A list as it is, one value as a list of it, nothing as an empty list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def skip(prompt: Prompt, path: str, value: object) -> None:
    """Name what could not be read; a hostile body cannot make the list long."""
    if len(prompt.skipped) < _MOST_SKIPPED:
        kind = value.get("type") if isinstance(value, Mapping) else None
        prompt.skipped.append(f"{path}: {kind if isinstance(kind, str) else type(value).__name__}")
