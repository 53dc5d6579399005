"""Finds the model of a provider's book that a name means at an instant.

In this order: the exact id with a rate in force; an alias in force; a spelling the price file declares safe (letter
case, dots for dashes, a `[[form]]` such as `"us.{model}"`), if exactly one model fits. Nothing is tried by prefix and
nothing is stripped: a newer model must not be priced as an older one. Unknown stays unknown, with the nearest names
as a hint.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from tokenmeter._support.value import Value
from tokenmeter.prices.price_file import EVER, PriceFile, Validity, instant_of

__all__ = ["ModelMatch", "ModelNames", "pattern_of"]

_DEPTH: Final = 5
_HINTS: Final = 300  # finding near names is slow: after so many unknown ones a book stops offering them


class ModelMatch(Value):
    """A model of the book, with what the spelling said about the call and how it was found."""

    model: str
    params: Mapping[str, Any] = MappingProxyType({})
    flags: tuple[str, ...] = ()


class ModelNames:
    """The names of one provider, over its price file and the overlays on it (topmost first)."""

    def __init__(self, files: list[PriceFile]) -> None:
        self._files = files
        self._aliases: dict[str, list[tuple[float, float, str]]] = {}
        self._rules: tuple[str, ...] = tuple({rule: None for file in files for rule in file.head.get("match", ())})
        self._form_entries: list[Mapping[str, Any]] = []
        for file in files:
            for entry in file.data.get("alias", ()):
                since = instant_of(entry["from"], file.zone) if "from" in entry else -EVER
                until = instant_of(entry["until"], file.zone) if "until" in entry else EVER
                self._aliases.setdefault(entry["model"], []).append((since, until, entry["of"]))
            for entry in file.data.get("form", ()):
                self._form_entries.append(entry)
        self._folded: dict[str, set[str]] | None = None
        self._hints_left = _HINTS

    @functools.cached_property
    def _forms(self) -> list[tuple[re.Pattern[str], str | None, Mapping[str, Any]]]:
        """Compiled when a name is first looked up that is neither id nor alias."""
        entries = self._form_entries
        return [(form_pattern(entry["name"]), entry.get("of"), entry.get("params", {})) for entry in entries]

    def all(self) -> Iterator[str]:
        """Every id and alias, each once."""
        yield from dict.fromkeys([*(model for file in self._files for model in file.entries), *self._aliases])

    def find(self, name: str, instant: float, validity: Validity) -> ModelMatch | None:
        """The model a name means at an instant; narrows `validity` to the time this stays so."""
        return self._known(name, instant, validity) or self._spelled(name, instant, validity)

    def _known(self, name: str, instant: float, validity: Validity, depth: int = _DEPTH) -> ModelMatch | None:
        if self._sold(name, instant, validity):
            return ModelMatch(name)
        for since, until, target in self._aliases.get(name, ()):
            if since <= instant < until:
                validity.narrow(since, until)
                found = self._known(target, instant, validity, depth - 1) if depth else None
                if found is not None:
                    return found
            else:
                validity.narrow(*((until, EVER) if until <= instant else (-EVER, since)))
        return None

    def _sold(self, name: str, instant: float, validity: Validity) -> bool:
        sold = False
        for file in self._files:
            for currency in file.lists(name):
                timeline = file.timeline(name, currency)
                rate = None if timeline is None else timeline.in_force(instant, validity)
                sold = sold or (rate is not None and not rate.withdrawn)
        return sold

    def _spelled(self, name: str, instant: float, validity: Validity) -> ModelMatch | None:
        folded = self._fold_all()
        key = self._fold(name)
        candidates = folded.get(key, set()) - {name}
        if len(candidates) == 1:
            found = self._known(next(iter(candidates)), instant, validity)
            if found is not None:
                return ModelMatch(found.model, found.params, ("matched_spelling",))
        for pattern, target, params in self._forms:
            match = pattern.fullmatch(name)
            if match is not None and (inner := target or match["model"]) != name:
                found = self._known(inner, instant, validity) or self._spelled(inner, instant, validity)
                if found is not None:
                    said = {key: value for key, value in match.groupdict().items() if key != "model"}
                    return ModelMatch(found.model, {**params, **said, **found.params}, ("matched_form", *found.flags))
        return None

    def _fold(self, name: str) -> str:
        if "case" in self._rules:
            name = name.lower()
        if "spaces" in self._rules:  # ids have none: "Kimi K2" is how people write one
            name = name.strip().replace(" ", "-")
        if "dots" in self._rules:
            name = re.sub(r"(?<=\d)\.(?=\d)", "-", name)
        return name

    def _fold_all(self) -> dict[str, set[str]]:
        if self._folded is None:
            folded: dict[str, set[str]] = {}
            for name in self.all() if self._rules else ():
                folded.setdefault(self._fold(name), set()).add(name)
            self._folded = folded  # only when complete: another thread may be asking
        return self._folded

    def near(self, name: str) -> list[str]:
        """Up to three names like this one, for a message."""
        import difflib

        if self._hints_left <= 0 or len(name) > 120:
            return []
        self._hints_left -= 1
        by_case: dict[str, str] = {known.lower(): known for known in self.all()}
        return [by_case[key] for key in difflib.get_close_matches(name.lower(), by_case, n=3, cutoff=0.7)]

    def dead_ends(self) -> Iterable[tuple[str, str]]:
        """Aliases whose target no rate and no alias names."""
        for name, targets in self._aliases.items():
            for _, _, target in targets:
                if target not in self._aliases and not any(target in file.entries for file in self._files):
                    yield name, target


def pattern_of(model: str) -> re.Pattern[str]:
    """The names that a key's model part fits: letter case is no difference, `*` is any text."""
    return re.compile(".*".join(re.escape(part) for part in model.split("*")), re.IGNORECASE | re.DOTALL)


def form_pattern(text: str) -> re.Pattern[str]:
    """The pattern of a `[[form]]`. Raises ValueError.

    `{model}` stands for a name, `{region}` for the region that the name says, `*` for any text.
    """
    if text.count("{model}") != 1 or text == "{model}" or text.count("{region}") > 1:
        raise ValueError(f'{text!r} is not a form such as "us.{{model}}" or "ft:{{model}}:*": it needs {{model}} once')
    pattern = re.escape(text).replace(r"\*", ".*")
    pattern = pattern.replace(re.escape("{model}"), "(?P<model>.+?)")
    return re.compile(pattern.replace(re.escape("{region}"), "(?P<region>[a-z0-9-]+)"), re.DOTALL)
