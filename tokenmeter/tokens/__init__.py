"""Counts text and requests as the vendor bills them, offline.

A model belongs to a family (how text becomes tokens), by data. Where the family's vocabulary is here the count is
exact; elsewhere a stand-in or a ratio of its script gives a number with a range. Nothing is loaded before it is used
and nothing is ever downloaded.

Called by `calls` where a vendor reports no usage, by estimates, and by users. Read `counter.py` first: it finds the
family (`families`) and counts text (`engine`); `requests` (imported on first use) adds what chat templates, tools and
media cost; `streams` counts answers as they arrive; `calibration` corrects counts by what vendors report; `custom`
registers vocabularies of the user's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenmeter._support.arguments import check_text
from tokenmeter.errors import UsageError
from tokenmeter.token_count import TokenCount

if TYPE_CHECKING:
    from threading import Thread

    from tokenmeter.tokens.days import Moment
    from tokenmeter.tokens.streams import OutputCounter

__all__ = ["OutputCounter", "count_output", "count_request", "count_text", "family_names", "preload", "register"]


def count_text(
    text: str, *, model: str, provider: str | None = None, at: Moment | None = None, strict: bool = False
) -> TokenCount:
    """Tokens of a plain text, without any chat overhead; `at` is the time of the call, now where absent.

    A model no entry names is counted with a stand-in and a wide range; `strict=True` raises ConfigurationError instead.
    Raises UsageError for what is no text, ValueError for an `at` that is no time.
    """
    from tokenmeter.tokens.counter import counter
    from tokenmeter.tokens.days import iso_day

    if not isinstance(text, str):
        raise UsageError(
            f"count takes a text, not a {type(text).__name__}; a request body is counted by "
            "tokenmeter.estimate(body, provider=…, model=…).input"
        )
    check_text(model, "model", "gpt-4o", needed=True)
    check_text(provider, "provider", "openai")
    found = counter(model, provider, iso_day(at))
    if strict and found.found_by not in ("model", "similar"):
        from tokenmeter.errors import ConfigurationError

        raise ConfigurationError(
            f"model {model!r} is in no family; name it in tokens.register(family, path, models=[{model!r}])"
        )
    return found.estimate(text)


def count_request(
    body: Mapping[str, Any],
    *,
    provider: str | None = None,
    model: str | None = None,
    api: str | None = None,
    at: Moment | None = None,
    headers: Mapping[str, str] | None = None,
) -> TokenCount:
    """Input tokens of a whole request body as sent: messages, roles, tools, schema and media.

    `model` and `api` are read from the body where they are not given; `at` is the time of the call, now where absent,
    for vendors that changed what they add; `headers` are the request's, since some switch on features that bill
    (`anthropic-beta`). Raises ValueError for an `at` that is no time.
    """
    custom = sys.modules.get("tokenmeter.tokens.custom_template")  # there once the user has registered a vocabulary
    if custom is not None:
        exact: TokenCount | None = custom.count_chat(body, provider=provider, model=model)
        if exact is not None:
            return exact
    from tokenmeter.tokens.days import iso_day
    from tokenmeter.tokens.requests.count import explain_request

    return explain_request(body, provider=provider, model=model, api=api, at=iso_day(at), headers=headers).count


def count_output(
    *,
    model: str,
    provider: str | None = None,
    api: str | None = None,
    text: str = "",
    reasoning: str = "",
    tool_calls: Sequence[Mapping[str, Any]] = (),
    request: Mapping[str, Any] | None = None,
    at: Moment | None = None,
) -> TokenCount:
    """Output tokens of an answer: its text, visible reasoning and tool calls, with end marks and wrappers.

    Given the `request` it answers, what offered tools or a schema change about the answer is counted too;
    `at` is as in `count_request`.
    """
    from tokenmeter.tokens.days import iso_day
    from tokenmeter.tokens.requests.count import explain_output

    return explain_output(
        model=model,
        provider=provider,
        api=api,
        text=text,
        reasoning=reasoning,
        tool_calls=tool_calls,
        request=request,
        at=iso_day(at),
    ).count


def register(family: str, path: str | os.PathLike[str], *, models: Iterable[str] = ()) -> None:
    """Count some models with a vocabulary of your own: a tokenizer.json, a transformers folder, or a family's .toml.

    Raises ConfigurationError where the path is wrong, MissingExtra where a package is needed to read it.
    """
    from tokenmeter.tokens.custom import register as put

    put(family, path, models=models)


def preload(*names: str) -> Thread:
    """Load the vocabularies of families or models (`"qwen"`, `"gpt-4o"`) in the background; join the thread to wait."""
    import threading

    for name in names:
        check_text(name, "name", "qwen", needed=True)

    def load() -> None:
        from tokenmeter._support.guard import guard
        from tokenmeter.tokens.counter import load_for

        for name in names:
            with guard(f"loading the vocabulary for {name}"):
                load_for(name)

    thread = threading.Thread(target=load, name="tokenmeter-preload", daemon=True)
    thread.start()
    return thread


def family_names() -> tuple[str, ...]:
    """The names of all families, those registered here included."""
    from tokenmeter.tokens.families import family_names as names

    return names()


def __getattr__(name: str) -> Any:
    if name == "OutputCounter":
        from tokenmeter.tokens.streams import OutputCounter

        return OutputCounter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
