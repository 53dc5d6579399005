"""`Prompt`: a request in one form for every wire format: messages of parts, tools, a schema, switches.

`bodies.read` makes a `Prompt` of any vendor's request; the rules and renderers see nothing else. The values are
plain and mutable because they live for one count only: one of them per part of a request is on the hot path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Item", "Media", "Message", "OutputSchema", "Prompt", "Result", "Tool", "ToolCall", "called", "merged"]


@dataclass(slots=True)
class ToolCall:
    """A tool call in the history or in an answer; `arguments` is JSON text or the decoded value, as it was sent."""

    name: str
    arguments: Any = ""
    id: str = ""
    stored: bool = False
    """The item carries the server's own id beside the call's: it is replayed as the model wrote it."""


@dataclass(slots=True)
class Result:
    """The answer of a tool; `value` is set where the vendor's body holds JSON instead of text."""

    name: str
    text: str
    value: Any = None
    id: str = ""


TEXT_DOCUMENT: Final = "text document"  # a kind of media: the wrapper, its text is counted as text
CITED: Final = "citations"  # the detail of a document to be cited, and the kind of what that adds to the prompt


@dataclass(slots=True)
class Media:
    """An image, a sound, a film or a file; sizes are None where the body does not have them."""

    kind: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    pages: int | None = None
    detail: str | None = None


@dataclass(slots=True)
class Tool:
    """A function offered to the model; `raw` is its declaration as sent, for renderers that quote it."""

    name: str
    description: str
    parameters: Any
    raw: Mapping[str, Any]
    strict: bool = False
    grammar: str = ""
    """The grammar of a custom tool's input."""


@dataclass(slots=True)
class OutputSchema:
    """The JSON schema an answer must follow."""

    name: str
    description: str
    value: Any
    strict: bool = False


@dataclass(slots=True)
class Message:
    """One turn. Text of several parts stays apart, since some vendors join it with a newline and some do not."""

    role: str
    texts: list[str] = field(default_factory=list)
    name: str = ""
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    media: list[Media] = field(default_factory=list)
    signatures: list[int] = field(default_factory=list)
    """Lengths of the thinking signatures the message carries: opaque, but some vendors bill what is inside."""


@dataclass(slots=True)
class Prompt:
    """A request body read; `skipped` names what could not be read, by its path in the body."""

    messages: list[Message] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    """Texts counted without any chat frame: completions, embeddings, rerank documents."""
    token_ids: int = 0
    """Input already given as token ids."""
    tools: list[Tool] = field(default_factory=list)
    added_tools: list[list[Tool]] = field(default_factory=list)
    """Tools offered later in the conversation, a list for each item that does."""
    builtins: list[str] = field(default_factory=list)
    """Server-side tools: their prompt is the vendor's and cannot be seen."""
    schema: OutputSchema | None = None
    json_mode: bool = False
    choice: str = "auto"
    """`auto`, `none`, `required`, or `=name` for one function by force."""
    single_calls: bool = False
    """Parallel calls are switched off."""
    thinking: bool | None = None
    effort: str | None = None
    mode: str | None = None
    own_prompt: bool = True
    """The host's own system prompt is not switched off."""
    betas: list[str] = field(default_factory=list)
    """Beta features that the body or a header switches on."""
    legacy_functions: bool = False
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Item:
    """One part of a count: what it is, its tokens, and what they come from."""

    part: str
    tokens: int
    note: str = ""


def merged(messages: Iterable[Message]) -> list[Message]:
    """Adjacent messages of one role as one, joined by a newline."""
    found: list[Message] = []
    for message in messages:
        last = found[-1] if found else None
        if last is None or last.role != message.role or message.role == "tool" or last.calls or message.calls:
            found.append(message)
            continue
        found[-1] = Message(
            last.role,
            ["\n".join([*last.texts, *message.texts])],
            last.name,
            [*last.reasoning, *message.reasoning],
            results=[*last.results, *message.results],
            media=[*last.media, *message.media],
        )
    return found


def called(prompt: Prompt, identity: str) -> str:
    """The name of the call a result answers."""
    if identity:
        for message in prompt.messages:
            for call in message.calls:
                if call.id == identity:
                    return call.name
    return ""
