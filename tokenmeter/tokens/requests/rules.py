"""Reads `rules/*.toml`: what each endpoint bills beyond the text, as dated data, and finds an endpoint's rule.

A rule says how one family's prompt is framed on some endpoints: tokens around each message, how tools, calls,
results and schemas are written out, what thinking switches add, and how far off the total may be. Rules live in
`rules/*.toml`; the first whose `providers`, `models`, `apis`, `families` and dates all fit is used, so a file lists
what is special before what is usual. Adding a vendor adds a file and touches no code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.requests.options import PLAIN, PatternOptions, read_options

__all__ = ["Mode", "Pattern", "Rule", "find_rule", "load_rules"]

_FOLDER: Final = Path(__file__).with_name("rules")
_DEEPEST: Final = 8
_WHERE: Final = frozenset(("providers", "models", "apis", "families", "after", "before"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How one thing is written into the prompt: a style of `render`, the text and tokens around it, its options.

    `each` is added per tool, call or result and `constant` once; `text` is the format around one piece, where `\\0`
    stands for a mark that is one token and merges with nothing.
    """

    style: str = "none"
    text: str = "{body}"
    intro: str = ""
    outro: str = ""
    join: str = ""
    constant: int = 0
    each: int = 0
    with_system: int = 0
    required: int = 0
    forced: int = 0
    parallel: int = 0
    """Added instead of `each` and the results' frames where one message makes several calls."""
    parallel_each: int = 0
    scale: float = 1.0
    options: PatternOptions = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a reasoning mode bills of a call: its frames and texts `scale` times, its answer `output_scale` times."""

    scale: float = 1.0
    constant: int = 0
    output_scale: float = 1.0
    output_constant: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """The overhead of one family on some endpoints; `source` and `why` say where the figures come from."""

    id: str
    source: str
    why: str = ""
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    after: str = ""
    before: str = ""
    method: str = "template"
    start: int = 0
    message: int = 0
    roles: Mapping[str, int] = field(default_factory=dict)
    no_system: int = 0
    """Added when the request has no system text: a default one, or its frame."""
    first_system: int = 0
    """Added once when the request has a system text."""
    name: int = 0
    edge: str = ""
    """What stands right before a message's text: whitespace at the text's start merges with it."""
    join: str | None = None
    """What several text parts of one message are joined with; None counts them apart."""
    merge: bool = False
    """Adjacent messages of one role become one."""
    system_newline: bool = False
    """With tools, the first system text gets a newline before it is tokenised."""
    strip_think: bool = False
    """Thoughts written into an earlier answer's text (up to `</think>`) are not shown to the model again."""
    merge_calls: bool = False
    """Adjacent call items share one frame."""
    merge_results: int = 0
    """Tokens around each run of tool results."""
    chained: bool = False
    """Calls that follow results, and their own results, stay in the turn before: they open no frame."""
    hidden: int = 0
    thinking: Mapping[str, int] = field(default_factory=dict)
    """Tokens by switch: `on`, `off`, `default`, or an effort by name."""
    modes: Mapping[str, Mode] = field(default_factory=dict)
    """What the reasoning modes bill, by name."""
    betas: Mapping[str, int] = field(default_factory=dict)
    """Tokens by a beta feature that a header switches on, where tools are offered."""
    json_mode: int = 0
    """Added where the answer is to be JSON without a schema."""
    signature: tuple[float, float] = (0, 0)
    """Tokens per character of a thinking signature sent back, and tokens less: it holds the thoughts, encrypted."""
    signature_last: bool = False
    """Only signatures since the last user message count."""
    reasoning: str = "drop"
    """What of earlier reasoning is sent to the model: `keep`, `drop`, or `last` (since the last user message)."""
    summarized: bool = False
    """The thoughts in an answer are a summary of those that are billed."""
    tools: Pattern = field(default_factory=Pattern)
    calls: Pattern = field(default_factory=Pattern)
    results: Pattern = field(default_factory=Pattern)
    schema: Pattern = field(default_factory=Pattern)
    output: Pattern = field(default_factory=Pattern)
    output_calls: Pattern | None = None
    """How calls in an answer are billed, where it differs from calls in the history."""

    def frame(self, role: str) -> int:
        """Tokens around one message of a role."""
        return 0 if role == "reasoning" else self.roles.get(role, self.message)


_PATTERNS: Final = frozenset(("tools", "calls", "results", "schema", "output", "output_calls"))
_TUPLES: Final = frozenset(("providers", "models", "apis", "families", "signature"))


@cache
def load_rules() -> tuple[Rule, ...]:
    """Every rule in order. Raises CatalogError naming each unknown key, with all problems at once."""
    rules: list[Rule] = []
    problems: list[str] = []
    for path in sorted(_FOLDER.glob("*.toml")):
        try:
            data = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(f"requests/rules/{path.name}: {error}")
            continue
        entries = {str(entry.get("id")): entry for entry in data.get("rule", ())}
        for number, entry in enumerate(data.get("rule", ()), 1):
            if "like" in entry and entry["like"] not in entries:
                problems.append(
                    f"requests/rules/{path.name}: rule {number}: like: no rule {entry['like']!r} in this file"
                )
            rule = _rule(
                _inherit(entry, entries), f"requests/rules/{path.name}: rule {number} ({entry.get('id')})", problems
            )
            if rule is not None:
                rules.append(rule)
    if problems:
        raise CatalogError(problems)
    return tuple(rules)


def _inherit(entry: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]], depth: int = 0) -> dict[str, Any]:
    """`like = "id"` takes everything from another rule of the file but where it applies; tables merge."""
    base = entries.get(str(entry.get("like")))
    merged: dict[str, Any] = {}
    if base is not None and depth < _DEEPEST:
        merged = {key: value for key, value in _inherit(base, entries, depth + 1).items() if key not in _WHERE}
    for key, value in entry.items():
        inherited = merged.get(key)
        merged[key] = _merge(inherited, value) if isinstance(value, dict) and isinstance(inherited, dict) else value
    merged.pop("like", None)
    return merged


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inherited = merged.get(key)
        merged[key] = _merge(inherited, value) if isinstance(value, dict) and isinstance(inherited, dict) else value
    return merged


def _rule(entry: dict[str, Any], place: str, problems: list[str]) -> Rule | None:
    known = {one.name for one in fields(Rule)}
    values: dict[str, Any] = {}
    count = len(problems)
    for key, value in entry.items():
        if key not in known:
            problems.append(f"{place}: {key!r} is not a key of a rule; the keys are {', '.join(sorted(known))}")
        elif key in _PATTERNS:
            values[key] = _pattern(value, f"{place}.{key}", problems)
        elif key == "modes":
            values[key] = {name: _mode(entry, f"{place}.modes.{name}", problems) for name, entry in value.items()}
        else:
            values[key] = tuple(value) if key in _TUPLES else value
    problems.extend(f"{place}: {key!r} is missing" for key in ("id", "source") if not values.get(key))
    return Rule(**values) if len(problems) == count else None


def _mode(entry: dict[str, Any], place: str, problems: list[str]) -> Mode:
    known = {one.name for one in fields(Mode)}
    unknown = sorted(set(entry) - known)
    problems.extend(f"{place}: {key!r} is not a key; the keys are {', '.join(sorted(known))}" for key in unknown)
    return Mode(**{key: value for key, value in entry.items() if key in known})


def _pattern(entry: dict[str, Any], place: str, problems: list[str]) -> Pattern:
    known = {one.name for one in fields(Pattern)}
    unknown = sorted(set(entry) - known)
    problems.extend(f"{place}: {key!r} is not a key; the keys are {', '.join(sorted(known))}" for key in unknown)
    values = {key: value for key, value in entry.items() if key in known}
    if "options" in values:
        values["options"] = read_options(values["options"], f"{place}.options", problems)
    return Pattern(**values)


@lru_cache(maxsize=2048)
def find_rule(provider: str | None, model: str, api: str | None, family: str, at: str = "9999") -> Rule | None:
    """The first rule that fits; None where nothing is known of the endpoint. `at` is an ISO date."""
    names = _rule_names(model)
    provider = _known(provider)
    for rule in load_rules():
        if (
            (not rule.providers or provider in rule.providers)
            and (not rule.apis or api in rule.apis)
            and (not rule.families or any(fnmatchcase(family, one) for one in rule.families))
            and (not rule.models or any(fnmatchcase(name, one) for one in rule.models for name in names))
            and rule.after <= at
            and (not rule.before or at < rule.before)
        ):
            return rule
    return None


def _rule_names(model: str) -> tuple[str, ...]:
    """A model's name without its organisation, then without each of Bedrock's prefixes (`us.anthropic.claude-…`)."""
    names = [model.lower().replace("%2f", "/").rpartition("/")[2]]
    while True:
        prefix, dot, rest = names[-1].partition(".")
        if not dot or not prefix.replace("-", "").isalpha():
            return tuple(names)
        names.append(rest)


def _known(provider: str | None) -> str | None:
    """The provider's id, for one of its other names."""
    if provider is None or any(provider in rule.providers for rule in load_rules()):
        return provider
    from tokenmeter.providers.registry import load_providers

    found = load_providers().get(provider)
    return provider if found is None else found.id
