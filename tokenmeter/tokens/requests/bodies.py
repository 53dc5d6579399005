"""Reads a request body of any vendor into a `Prompt`.

Vendors agree on what a request holds and differ in what they call it, so one lenient reader knows every name
(`content`, `parts`, `Contents`; `tool_use`, `toolUse`, `functionCall`) and needs no dialect: a body that mixes two
is read too. What is text is kept, what is not understood is named in `skipped` by its path, and nothing raises.
Nesting is followed a few levels only; a deeper body is not a request anybody answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.tokens.requests.messages import read_content, read_message, read_messages
from tokenmeter.tokens.requests.prompt import Message, Prompt
from tokenmeter.tokens.requests.tools import items, read_choice, read_offered_tools, read_schema, skip

__all__ = ["guess_api", "read", "read_headers"]

_DEEPEST: Final = 6
_BODY_TEXTS: Final = (
    "prompt",
    "inputText",
    "suffix",
    "Prompt",
    "Text",
    "query",
    "documents",
    "texts",
    "Inputs",
    "Input",
)

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
    """The wire format a body was written for, by the keys it has; None where they are ambiguous."""
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
    return _read(_opened(body), prompt, api)


def _opened(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request itself: out of Gemini's wrapper, with everybody's keys for Tencent's."""
    inner = body.get("generateContentRequest")
    if isinstance(inner, Mapping):
        body = inner
    return _snake(body) if "Messages" in body else body


def _read(body: Mapping[str, Any], prompt: Prompt, api: str | None) -> Prompt:
    given = body.get("input")
    parameters = body.get("parameters")
    if isinstance(given, Mapping):  # DashScope: {"model", "input": {…}, "parameters": {…}}
        body = {**body, **given, "input": None, **(parameters if isinstance(parameters, Mapping) else {})}
        given = None
        if isinstance(body.get("prompt"), str) and "messages" not in body:  # the old form of one user message
            body = {**body, "prompt": None, "messages": body["prompt"]}
    _read_system(body, prompt)
    _read_messages(body, given, prompt, flat=api is not None and api.endswith((".embeddings", ".completions")))
    read_offered_tools(body, prompt, flat=api == "openai.responses")
    read_schema(body, prompt)
    _read_switches(body, prompt)
    return prompt


def _read_system(body: Mapping[str, Any], prompt: Prompt) -> None:
    for key in ("system", "systemInstruction", "system_instruction", "instructions", "preamble"):
        value = body.get(key)
        if value:
            message = Message("system")
            inner = value.get("parts", value) if isinstance(value, Mapping) else value
            read_content(inner, message, prompt, key)
            if message.texts or message.media:
                prompt.messages.append(message)


def _read_messages(body: Mapping[str, Any], given: object, prompt: Prompt, *, flat: bool) -> None:
    for key in ("messages", "contents", "chat_history"):
        turns = body.get(key)
        if isinstance(turns, list):
            read_messages(turns, prompt, key)
        elif isinstance(turns, str | Mapping):
            read_message({"role": "user", "content": turns} if isinstance(turns, str) else turns, prompt, key)
        elif turns is not None:
            skip(prompt, key, turns)
    if isinstance(body.get("message"), str):
        prompt.messages.append(Message("user", [body["message"]]))
    for key in _BODY_TEXTS:
        value = body.get(key)
        if value and not isinstance(value, Mapping):
            _read_inputs(value, prompt, key)
    for index, one in enumerate(items(body.get("requests"))):
        if isinstance(one, Mapping):
            content = one.get("content")
            found = Message("user")
            read_content(content.get("parts") if isinstance(content, Mapping) else content, found, prompt, "requests")
            prompt.inputs.extend(found.texts)
        else:
            skip(prompt, f"requests[{index}]", one)
    if given is None:
        return
    if flat or (isinstance(given, list) and given and all(isinstance(one, str | int) for one in given)):
        _read_inputs(given, prompt, "input")
    elif isinstance(given, str):
        prompt.messages.append(Message("user", [given]))
    elif isinstance(given, list):
        read_messages(given, prompt, "input")
    else:
        skip(prompt, "input", given)


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
                skip(prompt, f"{path}[{index}]", one)
    else:
        skip(prompt, path, value)


_SWITCHES: Final = frozenset(
    (
        "toolConfig", "tool_choice", "function_call", "tool_config", "parallel_tool_calls", "enable_thinking", "think",
        "additionalModelRequestFields", "thinking", "reasoning", "reasoning_effort", "venice_parameters",
        "anthropic_beta", "betas",
    )
)  # fmt: skip


def _read_switches(body: Mapping[str, Any], prompt: Prompt) -> None:
    if _SWITCHES.isdisjoint(body):
        return
    config = body.get("toolConfig")
    config = config if isinstance(config, Mapping) else {}
    for choice in (
        body.get("tool_choice"),
        body.get("function_call"),
        config.get("toolChoice"),
        body.get("tool_config"),
    ):
        if isinstance(choice, str):
            prompt.choice = "required" if choice in ("required", "any", "ANY", "REQUIRED") else choice.lower()
        elif isinstance(choice, Mapping):
            prompt.choice = read_choice(choice)
            prompt.single_calls |= choice.get("disable_parallel_tool_use") is True
    prompt.single_calls |= body.get("parallel_tool_calls") is False
    thinking = body.get("enable_thinking", body.get("think"))
    if isinstance(thinking, bool):
        prompt.thinking = thinking
    extra = body.get("additionalModelRequestFields")
    switch = body.get("thinking", extra.get("thinking") if isinstance(extra, Mapping) else None)
    if isinstance(switch, Mapping) and isinstance(switch.get("type"), str):
        if switch["type"] != "adaptive":  # Claude decides itself, and carries no text about it
            prompt.thinking = switch["type"] != "disabled"
    elif isinstance(switch, bool):
        prompt.thinking = switch
    reasoning = body.get("reasoning")
    effort = body.get("reasoning_effort", reasoning.get("effort") if isinstance(reasoning, Mapping) else None)
    if isinstance(effort, str):
        prompt.effort = effort
        if effort == "none":
            prompt.thinking = False
    if isinstance(reasoning, Mapping) and (reasoning.get("effort") or reasoning.get("max_tokens")):
        prompt.thinking = reasoning.get("effort") != "none"
    if isinstance(reasoning, Mapping) and isinstance(reasoning.get("mode"), str):
        prompt.mode = reasoning["mode"]
    _read_venice(body.get("venice_parameters"), prompt)
    for place in (body, extra):
        if isinstance(place, Mapping):
            for key in ("anthropic_beta", "betas"):
                prompt.betas += [one for one in items(place.get(key)) if isinstance(one, str)]


def _read_venice(given: object, prompt: Prompt) -> None:
    """Venice's switches: its own prompt, thinking, and its search, of which the results are in the prompt."""
    if not isinstance(given, Mapping):
        return
    prompt.own_prompt = given.get("include_venice_system_prompt") is not False
    if given.get("disable_thinking") is True:
        prompt.thinking = False
    if given.get("enable_web_search") == "on":
        prompt.builtins.append("web search")


def read_headers(headers: object, prompt: Prompt) -> None:
    """The beta features that a request's headers switch on, in a mapping of names in any case."""
    if not isinstance(headers, Mapping):
        return
    for name, value in headers.items():
        if isinstance(name, str) and name.lower() == "anthropic-beta" and isinstance(value, str):
            prompt.betas += [one.strip() for one in value.split(",")]


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
