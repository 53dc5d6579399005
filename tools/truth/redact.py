"""Replaces keys, tokens and mail addresses in recorded bodies; takes texts out where they are to be hidden."""

from __future__ import annotations

import re
from typing import Any

from tokenmeter.cli.recordings.cases import Case

__all__ = ["hide_texts", "redacted"]

_SECRETS = (
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|hf|ghp|glpat|AKIA|ASIA)[-_]?[A-Za-z0-9_-]{16,}"), "REDACTED_KEY"),
    (re.compile(r"\bAIza[0-9A-Za-z_-]{30,}"), "REDACTED_KEY"),
    (re.compile(r"\bBearer\s+[A-Za-z0-9._~+/-]{12,}=*"), "Bearer REDACTED_TOKEN"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), "REDACTED_TOKEN"),
    (
        re.compile(r"[A-Za-z0-9._%+-]+@(?!example\.(?:com|org|net)\b)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
        "REDACTED@example.com",
    ),
)
_BODIES = ("request", "output", "stream_events")


def redacted(case: Case) -> Case:
    """The case without secrets; flagged where its texts have changed."""
    clean = {name: _clean(case[name]) for name in _BODIES if name in case}
    if all(clean[name] == case[name] for name in clean):
        return case
    return {**case, **clean, "flags": sorted({*case["flags"], "text_redacted"})}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        for pattern, placeholder in _SECRETS:
            value = pattern.sub(placeholder, value)
        return value
    if isinstance(value, dict):
        return {key: _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list) else value


def hide_texts(case: Case, counted: dict[str, Any]) -> Case:
    """The case without what was asked and said, with our counts of it."""
    return {**case, **dict.fromkeys(set(_BODIES) & case.keys()), "counted": counted}
