"""Read a request body of any vendor into a `Prompt`.

Vendors agree on what a request holds and differ in what they call it, so one lenient reader knows every name
(`content`, `parts`, `Contents`; `tool_use`, `toolUse`, `functionCall`) and needs no dialect: a body that mixes two
is read too. What is text is kept, what is not understood is named in `skipped` by its path, and nothing raises.
Nesting is followed a few levels only; a deeper body is not a request anybody answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenmeter.tokens.requests import media
from tokenmeter.tokens.requests.prompt import Call, Message, Prompt, Result, Schema, Tool

__all__ = ["guess_api", "read"]

_DEEPEST: Final = 6
_MOST_SKIPPED: Final = 50
_ROLES: Final = {
    "model": "assistant",
    "chatbot": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "human": "user",
    "function": "tool",
    "observation": "tool",
}
_CALLS: Final = ("tool_use", "toolUse", "functionCall", "function_call", "tool_call", "custom_tool_call")
_RESULTS: Final = ("tool_result", "toolResult", "functionResponse", "function_response", "function_call_output")
_THOUGHTS: Final = ("thinking", "reasoning", "reasoning_content", "reasoningContent", "redacted_thinking", "thought")
_SIGNATURES: Final = ("signature", "thoughtSignature", "thought_signature", "encrypted_content")
_SILENT: Final = frozenset(("cachePoint", "cache_point", "item_reference", "tool_reference", "guardContent"))
_BODY_TEXTS: Final = ("prompt", "inputText", "suffix", "Prompt", "Text", "query", "documents", "texts", "Inputs")

# The key that only this format has; first match wins.
_TELLTALES: Final = (
    ("gemini.generate", ("contents",)),
    ("tencent.chat", ("Messages",)),
    ("cohere.chat", ("chat_history",)),
    ("bedrock.titan", ("inputText",)),
    ("gemini.interactions", ("system_instruction",)),
    ("bedrock.converse", ("inferenceConfig",)),
    ("bedrock.converse", ("toolConfig",)),
    ("anthropic.messages", ("anthropic_version",)),
    ("anthropic.messages", ("messages", "system")),
    ("openai.chat", ("messages",)),
    ("cohere.chat", ("message",)),
)


def guess_api(body: Mapping[str, Any]) -> str | None:
    """The wire format a body was written for, by the keys it has; None when nothing tells."""
    given = body.get("input")
    if isinstance(given, Mapping):
        return "dashscope.embeddings" if "texts" in given else "dashscope.generation"
    for api, keys in _TELLTALES:
        if all(key in body for key in keys):
            return api
    if "prompt" in body:
        return "ollama.generate" if "options" in body else "openai.completions"
    if given is None:
        return None
    if isinstance(given, list) and given and all(isinstance(one, str | int | list) for one in given):
        return "openai.embeddings"
    return "openai.responses"


def read(body: object, api: str | None = None) -> Prompt:
    """A `Prompt` of any body; never raises."""
    prompt = Prompt()
    if not isinstance(body, Mapping):
        prompt.skipped.append("request: not an object")
        return prompt
    if "Messages" in body:
        body = _snake(body)
    given = body.get("input")
    parameters = body.get("parameters")
    if isinstance(given, Mapping):  # DashScope: {"model", "input": {…}, "parameters": {…}}
        body = {**body, **given, "input": None, **(parameters if isinstance(parameters, Mapping) else {})}
        given = None
    _read_system(body, prompt)
    _read_messages(body, given, prompt, flat=api is not None and api.endswith((".embeddings", ".completions")))
    _read_tools(body, prompt)
    _read_schema(body, prompt)
    _read_switches(body, prompt)
    return prompt


def _read_system(body: Mapping[str, Any], prompt: Prompt) -> None:
    for key in ("system", "systemInstruction", "system_instruction", "instructions", "preamble"):
        value = body.get(key)
        if value:
            message = Message("system")
            inner = value.get("parts", value) if isinstance(value, Mapping) else value
            _read_content(inner, message, prompt, key)
            if message.texts or message.media:
                prompt.messages.append(message)


def _read_messages(body: Mapping[str, Any], given: object, prompt: Prompt, *, flat: bool) -> None:
    for key in ("messages", "contents", "chat_history"):
        turns = body.get(key)
        if isinstance(turns, list):
            for index, turn in enumerate(turns):
                _read_turn(turn, prompt, f"{key}[{index}]")
        elif isinstance(turns, str | Mapping):
            _read_turn({"role": "user", "content": turns} if isinstance(turns, str) else turns, prompt, key)
        elif turns is not None:
            _skip(prompt, key, turns)
    if isinstance(body.get("message"), str):
        prompt.messages.append(Message("user", [body["message"]]))
    for key in _BODY_TEXTS:
        value = body.get(key)
        if value and not isinstance(value, Mapping):
            _read_inputs(value, prompt, key)
    for index, one in enumerate(_items(body.get("requests"))):
        if isinstance(one, Mapping):
            content = one.get("content")
            found = Message("user")
            _read_content(content.get("parts") if isinstance(content, Mapping) else content, found, prompt, "requests")
            prompt.inputs.extend(found.texts)
        else:
            _skip(prompt, f"requests[{index}]", one)
    if given is None:
        return
    if flat or (isinstance(given, list) and given and all(isinstance(one, str | int) for one in given)):
        _read_inputs(given, prompt, "input")
    elif isinstance(given, str):
        prompt.messages.append(Message("user", [given]))
    elif isinstance(given, list):
        for index, item in enumerate(given):
            _read_turn(item, prompt, f"input[{index}]")
    else:
        _skip(prompt, "input", given)


def _read_inputs(value: object, prompt: Prompt, path: str) -> None:
    if isinstance(value, str):
        prompt.inputs.append(value)
    elif isinstance(value, list):
        if value and all(type(one) is int for one in value):
            prompt.token_ids += len(value)
            return
        for index, one in enumerate(value):
            if isinstance(one, Mapping):
                one = one.get("text", one)
            if isinstance(one, str):
                prompt.inputs.append(one)
            elif isinstance(one, list) and one and all(type(number) is int for number in one):
                prompt.token_ids += len(one)
            else:
                _skip(prompt, f"{path}[{index}]", one)
    else:
        _skip(prompt, path, value)


def _read_turn(turn: object, prompt: Prompt, path: str) -> None:
    if not isinstance(turn, Mapping):
        if isinstance(turn, str):
            prompt.messages.append(Message("user", [turn]))
        else:
            _skip(prompt, path, turn)
        return
    kind = turn.get("type")
    if kind == "additional_tools" or (kind == "tool_search_output" and "tools" in turn):
        _read_tool_list(turn.get("tools"), prompt, path)
        return
    role = turn.get("role")
    if not isinstance(role, str):
        role = "assistant" if kind in _CALLS or kind in ("reasoning", "model_output") else "user"
        if kind in _RESULTS:
            role = "tool"
    role = role.lower()
    message = Message("reasoning" if kind == "reasoning" else _ROLES.get(role, role))
    content = turn.get("content")
    if type(content) is str:  # the common turn, kept short
        if content:
            message.texts.append(content)
    else:
        if content is None:
            content = turn.get("parts", turn.get("contents", turn.get("message")))
        if content is None and kind is not None and kind != "message":
            content = [turn]
        _read_content(content, message, prompt, path)
    name = turn.get("name")
    if name and isinstance(name, str) and kind not in _CALLS:
        message.name = name
    if len(turn) > 2 or content is None:
        _read_extras(turn, message, prompt, path)
    if message.role == "tool" and not message.results:
        identity = turn.get("tool_call_id")
        message.results.append(
            Result(message.name or str(turn.get("tool_name") or ""), "\n".join(message.texts), id=str(identity or ""))
        )
        message.texts = []
    prompt.messages.append(message)


def _read_extras(turn: Mapping[str, Any], message: Message, prompt: Prompt, path: str) -> None:
    for key in ("reasoning_content", "reasoning"):
        value = turn.get(key)
        if isinstance(value, str) and value:
            message.reasoning.append(value)
            break
    for index, one in enumerate(_items(turn.get("tool_calls"))):
        _read_call(one, message, prompt, f"{path}.tool_calls[{index}]")
    if isinstance(turn.get("function_call"), Mapping):
        _read_call(turn["function_call"], message, prompt, f"{path}.function_call")
    plan = turn.get("tool_plan")
    if isinstance(plan, str) and plan:
        message.texts.append(plan)
    images = turn.get("images")
    if images:
        message.media.extend(media.describe("image", one) for one in _items(images))


def _read_content(content: object, message: Message, prompt: Prompt, path: str, depth: int = 0) -> None:
    if isinstance(content, str):
        if content:
            message.texts.append(content)
    elif isinstance(content, Mapping):
        _read_part(content, message, prompt, path, depth)
    elif isinstance(content, list):
        for index, part in enumerate(content):
            if isinstance(part, Mapping):
                _read_part(part, message, prompt, f"{path}.content[{index}]", depth)
            elif isinstance(part, str):
                if part:
                    message.texts.append(part)
            else:
                _skip(prompt, f"{path}.content[{index}]", part)
    elif content is not None:
        _skip(prompt, path, content)


def _read_part(part: Mapping[str, Any], message: Message, prompt: Prompt, path: str, depth: int) -> None:
    if depth > _DEEPEST:
        _skip(prompt, path, part)
        return
    kind = part.get("type")
    if not isinstance(kind, str):
        kind = next((key for key in (*_CALLS, *_RESULTS, *_THOUGHTS[:4]) if isinstance(part.get(key), Mapping)), "")
    signature = next((part[key] for key in _SIGNATURES if part.get(key)), None)
    if isinstance(signature, str) and signature:
        message.signatures.append(len(signature))
    text = part.get("text")
    if kind in _CALLS:
        _read_call(part.get(kind) if isinstance(part.get(kind), Mapping) else part, message, prompt, path)
    elif kind in _RESULTS or kind.endswith("_call_output"):
        inner = part.get(kind)
        _read_result(inner if isinstance(inner, Mapping) else part, message, prompt, path, depth)
    elif kind in _THOUGHTS or part.get("thought") is True:
        _read_thought(part, message, prompt, path)
    elif isinstance(text, str):
        if text:
            message.texts.append(text)
    elif kind == "refusal" and isinstance(part.get("refusal"), str):
        message.texts.append(part["refusal"])
    elif kind in ("message", "user_input", "model_output", "document", "json") and (
        isinstance(part.get("content"), list | str)
    ):
        _read_content(part["content"], message, prompt, path, depth + 1)
    elif (found := media.find(part)) is not None:
        medium, texts = found
        if medium is not None:
            message.media.append(medium)
        message.texts.extend(texts)
    elif not signature and not any(key in _SILENT for key in (kind, *part)):
        _skip(prompt, path, part)


def _read_call(call: object, message: Message, prompt: Prompt, path: str) -> None:
    if not isinstance(call, Mapping):
        _skip(prompt, path, call)
        return
    inner = call.get("function")
    inner = inner if isinstance(inner, Mapping) else call
    name = inner.get("name")
    arguments: Any = ""
    for key in ("arguments", "args", "input", "parameters"):
        if inner.get(key) is not None:
            arguments = inner[key]
            break
    identity = call.get("call_id") or call.get("id") or call.get("toolUseId")
    stored = bool(call.get("call_id") and call.get("id"))
    message.calls.append(Call(name if isinstance(name, str) else "", arguments, str(identity or ""), stored))


def _read_result(part: Mapping[str, Any], message: Message, prompt: Prompt, path: str, depth: int) -> None:
    name = part.get("name")
    inner = Message("tool")
    value = None
    for key in ("content", "output", "response", "result"):
        given = part.get(key)
        if given is None:
            continue
        if isinstance(given, Mapping) and not isinstance(given.get("text"), str):
            value = given
        elif isinstance(given, list) and any(isinstance(one, Mapping) and "json" in one for one in given):
            value = [one["json"] for one in given if isinstance(one, Mapping) and "json" in one]
        else:
            _read_content(given, inner, prompt, path, depth + 1)
        break
    message.media.extend(inner.media)
    for number, extra in enumerate(_items(part.get("parts"))):
        _read_content(extra, message, prompt, f"{path}.parts[{number}]", depth + 1)
    identity = part.get("tool_use_id") or part.get("toolUseId") or part.get("call_id") or part.get("id")
    message.results.append(
        Result(name if isinstance(name, str) else "", "\n".join(inner.texts), value, str(identity or ""))
    )


def _read_thought(part: Mapping[str, Any], message: Message, prompt: Prompt, path: str) -> None:
    for key in ("thinking", "text", "reasoning", "summary", "reasoningText", "reasoningContent", "content", "thought"):
        value = part.get(key)
        if isinstance(value, str):
            message.reasoning.append(value)
            return
        if isinstance(value, Mapping | list) and value:
            inner = Message("assistant")
            _read_content(value.get("reasoningText", value) if isinstance(value, Mapping) else value, inner, prompt, path)
            message.reasoning.extend(inner.texts)
            return


def _read_tools(body: Mapping[str, Any], prompt: Prompt) -> None:
    config = body.get("toolConfig")
    for key, value in (
        ("tools", body.get("tools")),
        ("functions", body.get("functions")),
        ("toolConfig.tools", config.get("tools") if isinstance(config, Mapping) else None),
    ):
        if value:
            prompt.legacy_functions |= key == "functions"
            _read_tool_list(value, prompt, key)


def _read_tool_list(value: object, prompt: Prompt, path: str, depth: int = 0) -> None:
    for index, tool in enumerate(_items(value)):
        where = f"{path}[{index}]"
        if not isinstance(tool, Mapping) or depth > _DEEPEST:
            _skip(prompt, where, tool)
            continue
        nested = tool.get("functionDeclarations", tool.get("function_declarations"))
        if nested is None and tool.get("type") in ("namespace", "tool_search_output"):
            nested = tool.get("tools")
        if nested is not None:
            _read_tool_list(nested, prompt, where, depth + 1)
            continue
        inner = next((tool[key] for key in ("function", "toolSpec") if isinstance(tool.get(key), Mapping)), tool)
        name = inner.get("name")
        kind = tool.get("type")
        if not isinstance(name, str) or (kind not in (None, "function", "custom") and inner is tool):
            prompt.builtins.append(str(kind or next(iter(tool), "tool")))
            continue
        prompt.tools.append(_tool(name, inner))


def _tool(name: str, inner: Mapping[str, Any]) -> Tool:
    parameters: Any = None
    for key in ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema"):
        if inner.get(key) is not None:
            parameters = inner[key]
            break
    if isinstance(parameters, Mapping) and isinstance(parameters.get("json"), Mapping):
        parameters = parameters["json"]  # Bedrock wraps the schema
    description = inner.get("description")
    return Tool(name, description if isinstance(description, str) else "", parameters, inner, inner.get("strict") is True)


def _read_schema(body: Mapping[str, Any], prompt: Prompt) -> None:
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
            prompt.schema = Schema(
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


def _read_switches(body: Mapping[str, Any], prompt: Prompt) -> None:
    config = body.get("toolConfig")
    config = config if isinstance(config, Mapping) else {}
    for choice in (body.get("tool_choice"), body.get("function_call"), config.get("toolChoice"), body.get("tool_config")):
        if isinstance(choice, str):
            prompt.choice = "required" if choice in ("required", "any", "ANY", "REQUIRED") else choice.lower()
        elif isinstance(choice, Mapping):
            prompt.choice = _choice(choice)
    prompt.single_calls = body.get("parallel_tool_calls") is False
    thinking = body.get("enable_thinking", body.get("think"))
    if isinstance(thinking, bool):
        prompt.thinking = thinking
    extra = body.get("additionalModelRequestFields")
    switch = body.get("thinking", extra.get("thinking") if isinstance(extra, Mapping) else None)
    if isinstance(switch, Mapping) and isinstance(switch.get("type"), str):
        prompt.thinking = switch["type"] != "disabled"
    elif isinstance(switch, bool):
        prompt.thinking = switch
    reasoning = body.get("reasoning")
    effort = body.get("reasoning_effort", reasoning.get("effort") if isinstance(reasoning, Mapping) else None)
    if isinstance(effort, str):
        prompt.effort = effort
    if isinstance(reasoning, Mapping) and (reasoning.get("effort") or reasoning.get("max_tokens")):
        prompt.thinking = reasoning.get("effort") != "none"
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("mode"), str):
        prompt.mode = reasoning["mode"]


def _choice(choice: Mapping[str, Any]) -> str:
    inner = choice.get("function", choice.get("tool", choice))
    if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
        return f"={inner['name']}"
    if choice.get("type") == "any" or "any" in choice:
        return "required"
    return str(choice.get("type") or "auto")


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _skip(prompt: Prompt, path: str, value: object) -> None:
    if len(prompt.skipped) < _MOST_SKIPPED:
        kind = value.get("type") if isinstance(value, Mapping) else None
        prompt.skipped.append(f"{path}: {kind if isinstance(kind, str) else type(value).__name__}")


def _snake(value: Any, depth: int = 0) -> Any:
    """Tencent's PascalCase keys as everybody else writes them."""
    if depth > 2 * _DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {_SNAKE.get(key, key): _snake(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_snake(one, depth + 1) for one in value]
    return value


_SNAKE: Final = {
    "Messages": "messages",
    "Role": "role",
    "Content": "content",
    "Contents": "contents",
    "Type": "type",
    "Text": "text",
    "ImageUrl": "image_url",
    "Url": "url",
    "Name": "name",
    "Tools": "tools",
    "Function": "function",
    "Description": "description",
    "Parameters": "parameters",
    "Arguments": "arguments",
    "ToolCalls": "tool_calls",
    "ToolCallId": "tool_call_id",
    "ToolChoice": "tool_choice",
    "ReasoningContent": "reasoning_content",
}
