"""Counts whole requests through a model's chat template, for custom vocabularies registered from a folder.

The template is a program in Jinja that came with the model; `transformers` runs it in its sandbox. The body is handed
over as the servers that run such models (vLLM, SGLang) do: texts in parts joined by a newline, arguments of calls as
objects, `chat_template_kwargs` as further variables. What is not a chat in text, or what the template refuses, is
counted as for any other model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.guard import logger
from tokenmeter.token_count import TokenCount
from tokenmeter.tokens.families import match_model
from tokenmeter.tokens.split_points import scalars
from tokenmeter.wire.request_body import model_of

__all__ = ["ChatTemplate", "count_chat", "has_template", "put_template"]

_TEXTS: Final = ("text", "input_text", "output_text")
_templates: dict[str, ChatTemplate] = {}


class ChatTemplate:
    """Renders a request with the template of a `transformers` tokenizer, and counts the text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._refused: set[str] = set()

    def count(self, body: Mapping[str, Any]) -> int | None:
        """Tokens of the rendered request; None where it is no chat in text or the template does not take it."""
        messages = _messages(body)
        if messages is None:
            return None
        from jinja2 import TemplateError  # type: ignore[import-not-found,unused-ignore]

        extra = body.get("chat_template_kwargs")
        variables = dict(extra) if isinstance(extra, Mapping) else {}
        offered = body.get("tools") if body.get("tool_choice") != "none" else None
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                **{
                    "tools": offered or None,
                    "add_generation_prompt": body.get("add_generation_prompt", True),
                    **variables,
                    "tokenize": False,
                },
            )
            return len(self._tokenizer.encode(scalars(text), add_special_tokens=False))
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            if reason not in self._refused and len(self._refused) < 100:
                self._refused.add(reason)
                logger.warning("a chat template does not take a request, which is counted with a range: %s", reason)
            return None


def has_template(place: Path) -> bool:
    """Whether a folder saved by transformers holds a chat template."""
    if not place.is_dir():
        return False
    if (place / "chat_template.jinja").exists() or (place / "chat_template.json").exists():
        return True
    try:
        return "chat_template" in json.loads((place / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def put_template(family: str, template: ChatTemplate | None) -> None:
    """Count requests of a family by this template from now on; None counts them as any other."""
    if template is None:
        _templates.pop(family, None)
    else:
        _templates[family] = template


def count_chat(body: Mapping[str, Any], *, provider: str | None, model: str | None) -> TokenCount | None:
    """The exact count of a chat request whose model has a template of the user's; None for all others."""
    if not _templates or not isinstance(body, Mapping):
        return None
    name = model or model_of(body)
    if name is None:
        return None
    family = match_model(name, provider).family
    template = _templates.get(family)
    tokens = template.count(body) if template is not None else None
    return None if tokens is None else TokenCount(tokens, tokens, tokens, "exact", family)


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        return None
    messages = []
    system = body.get("system")
    if system is not None:
        content = _text(system)
        if content is None:
            return None
        messages.append({"role": "system", "content": content})
    for one in given:
        if not isinstance(one, Mapping):
            return None
        message = dict(one)
        content = _text(one.get("content"))
        if content is None and one.get("content") is not None:
            return None
        message["content"] = content
        if one.get("tool_calls"):
            message["tool_calls"] = [_call(call) for call in one["tool_calls"]]
        messages.append(message)
    return messages


def _text(content: object) -> str | None:
    """A text, or the parts of one joined; None for anything else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str) or (isinstance(part, Mapping) and part.get("type", "text") not in _TEXTS):
            return None
        parts.append(text)
    return "\n".join(parts)


def _call(call: Any) -> Any:
    """A call with its arguments as an object, as templates write them out."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except (ValueError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}}
