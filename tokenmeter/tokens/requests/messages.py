"""Reads one message of a conversation: texts, reasoning, calls, results and media, under any vendor's names.

A message, or one of its parts, may say its `type`, its kind here. `_PARTS` is the table of kinds whose reader the kind
alone decides. Any other part is a text if it has one, else it is read by the first of `_OTHERS` that can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenmeter.tokens.requests import media
from tokenmeter.tokens.requests.prompt import Message, Prompt, Result, ToolCall
from tokenmeter.tokens.requests.tools import first, items, read_tools, skip

__all__ = ["read_content", "read_message", "read_messages"]

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
_CONTAINERS: Final = frozenset(("message", "user_input", "model_output", "document", "json"))
#: The role of a message that states none, by its kind.
_ROLE_OF_KIND: Final = {
    **dict.fromkeys((*_CALLS, "reasoning", "model_output"), "assistant"),
    **dict.fromkeys(_RESULTS, "tool"),
}
#: The keys that name a part's kind where it has no `type`: `{"functionCall": {…}}`.
_KIND_KEYS: Final = (*_CALLS, *_RESULTS, "thinking", "reasoning", "reasoning_content", "reasoningContent")
_ARGUMENTS: Final = ("arguments", "args", "input", "parameters")
_OUTPUTS: Final = ("content", "output", "response", "result")
_THOUGHT_TEXTS: Final = (
    "thinking", "text", "reasoning", "summary", "reasoningText", "reasoningContent", "content", "thought",
)  # fmt: skip
_SIGNATURES: Final = ("signature", "thoughtSignature", "thought_signature", "encrypted_content")
_SILENT: Final = frozenset(("cachePoint", "cache_point", "item_reference", "tool_reference", "guardContent"))
_PLAIN: Final = frozenset(("system", "developer", "user", "assistant"))


def read_messages(given: list[Any], prompt: Prompt, key: str) -> None:
    """Every message of a list; the common one, a role and a text, the short way."""
    add = prompt.messages.append
    for index, one in enumerate(given):
        if type(one) is dict and len(one) == 2:
            content = one.get("content")
            role = one.get("role")
            if type(content) is str and content and role in _PLAIN:
                add(Message(role, [content]))
                continue
        read_message(one, prompt, f"{key}[{index}]")


def read_message(given: object, prompt: Prompt, path: str) -> None:
    """One message, or one item of a response's input; what is not understood is skipped by name."""
    if isinstance(given, str):
        prompt.messages.append(Message("user", [given]))
        return
    if not isinstance(given, Mapping):
        skip(prompt, path, given)
        return
    kind = _kind_of(given)
    if kind == "additional_tools":
        added = Prompt()
        read_tools(given.get("tools"), added, path)
        if added.tools:
            prompt.added_tools.append(added.tools)
        prompt.builtins.extend(added.builtins)
        prompt.skipped.extend(added.skipped)
        return
    if kind == "tool_search_output" and "tools" in given:
        read_tools(given.get("tools"), prompt, path)
        return
    message = Message(_role_of(given, kind))
    content = _content_of(given)
    if type(content) is str:  # the common message, kept short
        if content:
            message.texts.append(content)
    else:
        read_content(content, message, prompt, path)
    name = given.get("name")
    if name and isinstance(name, str) and kind not in _CALLS:
        message.name = name
    if len(given) > 2 or content is None:
        _read_extras(given, message, prompt, path)
    if message.role == "tool" and not message.results:
        _make_result(given, message)
    prompt.messages.append(message)


def _kind_of(given: Mapping[str, Any]) -> str:
    kind = given.get("type")
    return kind if isinstance(kind, str) else ""


def _role_of(given: Mapping[str, Any], kind: str) -> str:
    if kind == "reasoning":
        return "reasoning"
    role = given.get("role")
    role = role.lower() if isinstance(role, str) else _ROLE_OF_KIND.get(kind, "user")
    return _ROLES.get(role, role)


def _content_of(given: Mapping[str, Any]) -> Any:
    """What a message holds: its content under any name, or itself where it is a single part."""
    content = given.get("content")
    if content is None:
        content = given.get("parts", given.get("contents", given.get("message")))
    if content is None and given.get("type") not in (None, "message"):
        return [given]
    return content


def _make_result(given: Mapping[str, Any], message: Message) -> None:
    """A tool's message of plain text is that tool's result."""
    name = message.name or str(given.get("tool_name") or "")
    message.results.append(Result(name, "\n".join(message.texts), id=str(given.get("tool_call_id") or "")))
    message.texts = []


def _read_extras(given: Mapping[str, Any], message: Message, prompt: Prompt, path: str) -> None:
    """What stands beside a message's content: reasoning, calls, a plan of calls, images."""
    for key in ("reasoning_content", "reasoning"):
        value = given.get(key)
        if isinstance(value, str) and value:
            message.reasoning.append(value)
            break
    for index, one in enumerate(items(given.get("tool_calls"))):
        read_call(one, message, prompt, f"{path}.tool_calls[{index}]")
    if isinstance(given.get("function_call"), Mapping):
        read_call(given["function_call"], message, prompt, f"{path}.function_call")
    plan = given.get("tool_plan")
    if isinstance(plan, str) and plan:
        message.texts.append(plan)
    images = given.get("images")
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
        kind = next((key for key in _KIND_KEYS if isinstance(part.get(key), Mapping)), "")
    signature = next((part[key] for key in _SIGNATURES if part.get(key)), None)
    if isinstance(signature, str) and signature:
        message.signatures.append(len(signature))
    read = _PARTS.get(kind)
    if read is None and kind.endswith("_call_output"):
        read = _read_result
    if read is None and part.get("thought") is True:
        read = _read_thought
    if read is not None:
        read(part, kind, message, prompt, path, depth)
        return
    text = part.get("text")
    if isinstance(text, str):
        if text:
            message.texts.append(text)
        return
    understood = any(read_other(part, kind, message, prompt, path, depth) for read_other in _OTHERS)
    if not understood and not signature and not any(key in _SILENT for key in (kind, *part)):
        skip(prompt, path, part)


def _read_call(part: Mapping[str, Any], kind: str, message: Message, prompt: Prompt, path: str, depth: int) -> None:
    inner = part.get(kind)
    read_call(inner if isinstance(inner, Mapping) else part, message, prompt, path)


def read_call(call: object, message: Message, prompt: Prompt, path: str) -> None:
    """A tool call, with its name and arguments in a `function` or directly in it."""
    if not isinstance(call, Mapping):
        skip(prompt, path, call)
        return
    inner = call.get("function")
    inner = inner if isinstance(inner, Mapping) else call
    name = inner.get("name")
    arguments = first(inner, _ARGUMENTS)
    identity = call.get("call_id") or call.get("id") or call.get("toolUseId")
    stored = bool(call.get("call_id") and call.get("id"))
    message.calls.append(
        ToolCall(
            name if isinstance(name, str) else "",
            "" if arguments is None else arguments,
            str(identity or ""),
            stored,
        )
    )


def _read_result(part: Mapping[str, Any], kind: str, message: Message, prompt: Prompt, path: str, depth: int) -> None:
    wrapped = part.get(kind)
    part = wrapped if isinstance(wrapped, Mapping) else part
    name = part.get("name")
    inner = Message("tool")
    value: Any = None
    given = first(part, _OUTPUTS)
    if isinstance(given, Mapping) and not isinstance(given.get("text"), str):
        value = given
    elif isinstance(given, list) and any(isinstance(one, Mapping) and "json" in one for one in given):
        value = [one["json"] for one in given if isinstance(one, Mapping) and "json" in one]
    else:
        read_content(given, inner, prompt, path, depth + 1)
    message.media.extend(inner.media)
    for number, extra in enumerate(items(part.get("parts"))):
        read_content(extra, message, prompt, f"{path}.parts[{number}]", depth + 1)
    identity = part.get("tool_use_id") or part.get("toolUseId") or part.get("call_id") or part.get("id")
    message.results.append(
        Result(name if isinstance(name, str) else "", "\n".join(inner.texts), value, str(identity or ""))
    )


def _read_thought(part: Mapping[str, Any], kind: str, message: Message, prompt: Prompt, path: str, depth: int) -> None:
    """Reasoning: the first of its keys that holds a text, or parts that do."""
    for value in map(part.get, _THOUGHT_TEXTS):
        if isinstance(value, str):
            message.reasoning.append(value)
            return
        if isinstance(value, Mapping | list) and value:
            inner = Message("assistant")
            content = value.get("reasoningText", value) if isinstance(value, Mapping) else value
            read_content(content, inner, prompt, path, depth + 1)
            message.reasoning.extend(inner.texts)
            return


def _read_refusal(part: Mapping[str, Any], kind: str, message: Message, *_: object) -> bool:
    refusal = part.get("refusal")
    if kind != "refusal" or not isinstance(refusal, str):
        return False
    message.texts.append(refusal)
    return True


def _read_container(
    part: Mapping[str, Any], kind: str, message: Message, prompt: Prompt, path: str, depth: int
) -> bool:
    content = part.get("content")
    if kind not in _CONTAINERS or not isinstance(content, list | str):
        return False
    read_content(content, message, prompt, path, depth + 1)
    return True


def _read_media(part: Mapping[str, Any], kind: str, message: Message, *_: object) -> bool:
    found = media.find(part)
    if found is None:
        return False
    medium, texts = found
    if medium is not None:
        message.media.append(medium)
    message.texts.extend(texts)
    return True


_PartReader = Callable[[Mapping[str, Any], str, Message, Prompt, str, int], None]
_PARTS: Final[Mapping[str, _PartReader]] = {
    **dict.fromkeys(_CALLS, _read_call),
    **dict.fromkeys(_RESULTS, _read_result),
    **dict.fromkeys(_THOUGHTS, _read_thought),
}
_OTHERS: Final[tuple[Callable[[Mapping[str, Any], str, Message, Prompt, str, int], bool], ...]] = (
    _read_refusal,
    _read_container,
    _read_media,
)
