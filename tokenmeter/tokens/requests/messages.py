"""Read one turn of a conversation: texts, reasoning, calls, results and media, under any vendor's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.tokens.requests import media
from tokenmeter.tokens.requests.prompt import Call, Message, Prompt, Result
from tokenmeter.tokens.requests.tools import items, read_tools, skip

__all__ = ["read_content", "read_turn", "read_turns"]

_DEEPEST: Final = 6
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


_PLAIN: Final = frozenset(("system", "developer", "user", "assistant"))


def read_turns(turns: list[Any], prompt: Prompt, key: str) -> None:
    """Every turn of a list; the common one, a role and a text, the short way."""
    add = prompt.messages.append
    for index, turn in enumerate(turns):
        if type(turn) is dict and len(turn) == 2:
            content = turn.get("content")
            role = turn.get("role")
            if type(content) is str and content and role in _PLAIN:
                add(Message(role, [content]))
                continue
        read_turn(turn, prompt, f"{key}[{index}]")


def read_turn(turn: object, prompt: Prompt, path: str) -> None:
    """One turn, or one item of a response's input; what is not understood is skipped by name."""
    if not isinstance(turn, Mapping):
        if isinstance(turn, str):
            prompt.messages.append(Message("user", [turn]))
        else:
            skip(prompt, path, turn)
        return
    kind = turn.get("type")
    if kind == "additional_tools" or (kind == "tool_search_output" and "tools" in turn):
        read_tools(turn.get("tools"), prompt, path)
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
        read_content(content, message, prompt, path)
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
    for index, one in enumerate(items(turn.get("tool_calls"))):
        read_call(one, message, prompt, f"{path}.tool_calls[{index}]")
    if isinstance(turn.get("function_call"), Mapping):
        read_call(turn["function_call"], message, prompt, f"{path}.function_call")
    plan = turn.get("tool_plan")
    if isinstance(plan, str) and plan:
        message.texts.append(plan)
    images = turn.get("images")
    if images:
        message.media.extend(media.describe("image", one) for one in items(images))


def read_content(content: object, message: Message, prompt: Prompt, path: str, depth: int = 0) -> None:
    """The content of a message, a result or a system text: a text, a part, or a list of both."""
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
                skip(prompt, f"{path}.content[{index}]", part)
    elif content is not None:
        skip(prompt, path, content)


def _read_part(part: Mapping[str, Any], message: Message, prompt: Prompt, path: str, depth: int) -> None:
    if depth > _DEEPEST:
        skip(prompt, path, part)
        return
    kind = part.get("type")
    if not isinstance(kind, str):
        kind = next((key for key in (*_CALLS, *_RESULTS, *_THOUGHTS[:4]) if isinstance(part.get(key), Mapping)), "")
    signature = next((part[key] for key in _SIGNATURES if part.get(key)), None)
    if isinstance(signature, str) and signature:
        message.signatures.append(len(signature))
    text = part.get("text")
    if kind in _CALLS:
        read_call(part.get(kind) if isinstance(part.get(kind), Mapping) else part, message, prompt, path)
    elif kind in _RESULTS or kind.endswith("_call_output"):
        inner = part.get(kind)
        _read_result(inner if isinstance(inner, Mapping) else part, message, prompt, path, depth)
    elif kind in _THOUGHTS or part.get("thought") is True:
        _read_thought(part, message, prompt, path, depth)
    elif isinstance(text, str):
        if text:
            message.texts.append(text)
    elif kind == "refusal" and isinstance(part.get("refusal"), str):
        message.texts.append(part["refusal"])
    elif kind in ("message", "user_input", "model_output", "document", "json") and (
        isinstance(part.get("content"), list | str)
    ):
        read_content(part["content"], message, prompt, path, depth + 1)
    elif (found := media.find(part)) is not None:
        medium, texts = found
        if medium is not None:
            message.media.append(medium)
        message.texts.extend(texts)
    elif not signature and not any(key in _SILENT for key in (kind, *part)):
        skip(prompt, path, part)


def read_call(call: object, message: Message, prompt: Prompt, path: str) -> None:
    if not isinstance(call, Mapping):
        skip(prompt, path, call)
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
    value: Any = None
    for key in ("content", "output", "response", "result"):
        given = part.get(key)
        if given is None:
            continue
        if isinstance(given, Mapping) and not isinstance(given.get("text"), str):
            value = given
        elif isinstance(given, list) and any(isinstance(one, Mapping) and "json" in one for one in given):
            value = [one["json"] for one in given if isinstance(one, Mapping) and "json" in one]
        else:
            read_content(given, inner, prompt, path, depth + 1)
        break
    message.media.extend(inner.media)
    for number, extra in enumerate(items(part.get("parts"))):
        read_content(extra, message, prompt, f"{path}.parts[{number}]", depth + 1)
    identity = part.get("tool_use_id") or part.get("toolUseId") or part.get("call_id") or part.get("id")
    message.results.append(
        Result(name if isinstance(name, str) else "", "\n".join(inner.texts), value, str(identity or ""))
    )


def _read_thought(part: Mapping[str, Any], message: Message, prompt: Prompt, path: str, depth: int) -> None:
    for key in ("thinking", "text", "reasoning", "summary", "reasoningText", "reasoningContent", "content", "thought"):
        value = part.get(key)
        if isinstance(value, str):
            message.reasoning.append(value)
            return
        if isinstance(value, Mapping | list) and value:
            inner = Message("assistant")
            read_content(
                value.get("reasoningText", value) if isinstance(value, Mapping) else value,
                inner,
                prompt,
                path,
                depth + 1,
            )
            message.reasoning.extend(inner.texts)
            return
