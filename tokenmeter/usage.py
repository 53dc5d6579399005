"""Tokens and other quantities of one call, each with the place it came from.

Totals are inclusive, whatever the vendor's own meaning: cached, audio and image input are part of
`input_tokens`, reasoning is part of `output_tokens` (as in OpenTelemetry's GenAI conventions). `None` means "not
reported" and is never zero. What is not counted in tokens (images, seconds, searches) goes under `quantities`.

A vendor's numbers may contradict one another. That is never an exception here: `contradictions` names it, and
pricing answers "unpriced" with the reason.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from tokenmeter.errors import UsageError
from tokenmeter.money import exact_decimal, plain

__all__ = ["Source", "TokenCount", "Usage", "worst"]


class Source(enum.StrEnum):
    """Where a number came from, best first."""

    REPORTED = "reported"
    """The vendor's own usage."""
    PARTIAL = "partial"
    """The vendor's own, but of an answer that did not end: a lower bound."""
    COUNTED = "counted"
    """Counted here with the model's own vocabulary and template."""
    ESTIMATED = "estimated"
    """Counted here with a stand-in or a ratio; `Usage.ranges` says how far off it may be."""
    NONE = "none"
    """Not known."""


_RANK: Final = {source: rank for rank, source in enumerate(Source)}


def worst(*sources: Source) -> Source:
    """The least trustworthy of some sources; `NONE` for none at all."""
    return max(sources, key=_RANK.__getitem__, default=Source.NONE)


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A count made here: `tokens` lies in [low, high] for 95% of real texts of its kind.

    `method` is the worst part of exact > template > stand-in > ratio; `tokens`, `low` and `high` are None where
    nothing could be counted, and `reason` says why. `skipped` names what could not be read. `calibrated` says what
    was learnt from the user's own traffic and is in the numbers (`×1.04, from 60 calls`); `method` stays what it was.
    """

    tokens: int | None
    low: int | None
    high: int | None
    method: str | None
    family: str | None = None
    skipped: tuple[str, ...] = ()
    reason: str | None = None
    calibrated: str | None = None

    @property
    def source(self) -> Source:
        """`counted` for a count with the model's own vocabulary, else `estimated`."""
        if self.tokens is None:
            return Source.NONE
        return Source.COUNTED if self.method in ("exact", "template") else Source.ESTIMATED


_TOTALS: Final = ("input_tokens", "output_tokens")
INPUT_SUBSETS: Final = (
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "audio_input_tokens",
    "image_input_tokens",
    "video_input_tokens",
)
OUTPUT_SUBSETS: Final = ("reasoning_output_tokens", "audio_output_tokens", "image_output_tokens")
TOKEN_FIELDS: Final = (*_TOTALS, *INPUT_SUBSETS, *OUTPUT_SUBSETS)
_LIFETIME: Final = re.compile(r"cache_write_([0-9]+[a-z]+)_input_tokens")
_CACHED: Final = re.compile(r"(audio|image|video)_cache_read_input_tokens")
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Quantities of one call. Subsets are inside their totals: cached input is part of input.

    `cache_writes` splits `cache_write_input_tokens` by lifetime (`{"5m": 100, "1h": 20}`); `cached_media` splits
    `cache_read_input_tokens` by modality (`{"audio": 10}`); `quantities` holds what is not tokens
    (`{"images": 2, "web_search_calls": 1, "audio_seconds": Decimal("1.5")}`).
    `source` is where the numbers came from, `sources` the components for which it differs, and `ranges` the
    low and high of counted or estimated ones.

    Raises UsageError when a number is a float, a boolean or a string; contradictions are not errors.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    audio_input_tokens: int | None = None
    image_input_tokens: int | None = None
    video_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    audio_output_tokens: int | None = None
    image_output_tokens: int | None = None
    cache_writes: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    cached_media: Mapping[str, int] = field(default_factory=lambda: _EMPTY)
    quantities: Mapping[str, int | Decimal] = field(default_factory=lambda: _EMPTY)
    source: Source = Source.REPORTED
    sources: Mapping[str, Source] = field(default_factory=lambda: _EMPTY)
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=lambda: _EMPTY)

    def __post_init__(self) -> None:
        for name in TOKEN_FIELDS:
            value = getattr(self, name)
            if value is not None and type(value) is not int:
                raise UsageError(
                    f"usage.{name}: {value!r} is a {type(value).__name__}; a token count is an int or None"
                )
        for name in ("cache_writes", "cached_media"):
            for key, value in getattr(self, name).items():
                if type(value) is not int:
                    raise UsageError(f"usage.{name}[{key!r}]: {value!r} is a {type(value).__name__}, not an int")
        for key, amount in self.quantities.items():
            if type(amount) is not int and not isinstance(amount, Decimal):
                raise UsageError(
                    f"usage.quantities[{key!r}]: {amount!r} is a {type(amount).__name__}, not an int or Decimal"
                )

    def source_of(self, component: str) -> Source:
        """Where one component's number came from; `NONE` where it is not known."""
        if component in TOKEN_FIELDS and getattr(self, component) is None:
            return Source.NONE
        return self.sources.get(component, self.source)

    @property
    def worst_source(self) -> Source:
        """The least trustworthy source among input and output."""
        return worst(*(self.source_of(name) for name in _TOTALS))

    def items(self) -> Iterator[tuple[str, int | Decimal]]:
        """Every known quantity under its name in the JSON form, totals first."""
        for name in TOKEN_FIELDS:
            value = getattr(self, name)
            if value is not None:
                yield name, value
        for lifetime, tokens in self.cache_writes.items():
            yield f"cache_write_{lifetime}_input_tokens", tokens
        for medium, tokens in self.cached_media.items():
            yield f"{medium}_cache_read_input_tokens", tokens
        yield from self.quantities.items()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form of the command line: integers for tokens, plain strings for fractions, no absent field."""
        answer: dict[str, Any] = {name: value for name, value in self.items() if name not in self.quantities}
        if self.quantities:
            answer["quantities"] = {
                name: value if isinstance(value, int) else plain(value) for name, value in self.quantities.items()
            }
        return answer

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, source: Source = Source.REPORTED) -> Usage:
        """Read the JSON form. Raises UsageError naming the field that is unknown or has the wrong type."""
        known: dict[str, Any] = {}
        writes: dict[str, int] = {}
        media: dict[str, int] = {}
        for name, value in data.items():
            if name in TOKEN_FIELDS:
                known[name] = value
            elif match := _LIFETIME.fullmatch(name):
                writes[match[1]] = value
            elif match := _CACHED.fullmatch(name):
                media[match[1]] = value
            elif name != "quantities":
                raise UsageError(f"usage.{name}: not a component; {_hint(name)}")
        return cls(
            **known,
            cache_writes=writes,
            cached_media=media,
            quantities=_quantities(data.get("quantities")),
            source=source,
        )

    def with_counts(self, **counts: TokenCount | None) -> Usage:
        """This usage with missing totals filled from counts made here; what is reported stays.

        Keys are `input_tokens` and `output_tokens`; each filled component carries its own source and range. A running
        count of a stream that was cut (`partial`) gives way where the text received is certainly longer: Anthropic's
        first event says 1, and the next number comes at the end.
        """
        filled: dict[str, Any] = {}
        sources = dict(self.sources)
        ranges = dict(self.ranges)
        for name, count in counts.items():
            if count is None or count.tokens is None:
                continue
            known = getattr(self, name)
            if known is not None and (self.source_of(name) is not Source.PARTIAL or (count.low or 0) <= known):
                continue
            filled[name] = count.tokens
            sources[name] = count.source
            if count.low is not None and count.high is not None:
                ranges[name] = (count.low, count.high)
        return replace(self, **filled, sources=sources, ranges=ranges) if filled else self

    def contradictions(self) -> tuple[str, ...]:
        """What cannot be true of these numbers, in words; empty when they agree."""
        found = [f"{name} is negative" for name, value in self.items() if value < 0]
        for total, subsets in ((_TOTALS[0], INPUT_SUBSETS), (_TOTALS[1], OUTPUT_SUBSETS)):
            whole = getattr(self, total)
            if whole is None:
                continue
            for name in subsets:
                part = getattr(self, name)
                if part is not None and part > whole:
                    found.append(f"{name} is above {total}")
        cached = (self.cache_read_input_tokens or 0) + (self.cache_write_input_tokens or 0)
        if self.input_tokens is not None and cached > self.input_tokens and not found:
            found.append("cache reads and writes together are above input_tokens")
        if (
            self.cache_write_input_tokens is not None
            and sum(self.cache_writes.values()) > self.cache_write_input_tokens
        ):
            found.append("cache writes by lifetime are above cache_write_input_tokens")
        return tuple(found)


_REPORTED: Final = Source.REPORTED  # looking it up on the enum for every answer costs as much as two fields


class _Draft:
    """A `Usage` before it is frozen: the same slots in the same order, filled by plain assignment."""

    __slots__ = tuple(field.name for field in fields(Usage))


def checked_usage(
    tokens: Mapping[str, int],
    *,
    cache_writes: Mapping[str, int] = _EMPTY,
    cached_media: Mapping[str, int] = _EMPTY,
    quantities: Mapping[str, int | Decimal] = _EMPTY,
    sources: Mapping[str, Source] = _EMPTY,
) -> Usage:
    """A reported `Usage` from numbers whose types the caller has checked already.

    Reading a response is on the path of every call, and `Usage(...)` spends seven eighths of its time on writing
    frozen slots and checking types again. Equal to `Usage(**tokens, ...)` in every respect.
    """
    get = tokens.get
    usage: Any = _Draft()
    usage.input_tokens = get("input_tokens")
    usage.output_tokens = get("output_tokens")
    usage.cache_read_input_tokens = get("cache_read_input_tokens")
    usage.cache_write_input_tokens = get("cache_write_input_tokens")
    usage.audio_input_tokens = get("audio_input_tokens")
    usage.image_input_tokens = get("image_input_tokens")
    usage.video_input_tokens = get("video_input_tokens")
    usage.reasoning_output_tokens = get("reasoning_output_tokens")
    usage.audio_output_tokens = get("audio_output_tokens")
    usage.image_output_tokens = get("image_output_tokens")
    usage.cache_writes = cache_writes
    usage.cached_media = cached_media
    usage.quantities = quantities
    usage.source = _REPORTED
    usage.sources = sources
    usage.ranges = _EMPTY
    usage.__class__ = Usage
    answer: Usage = usage
    return answer


def _quantities(data: object) -> dict[str, int | Decimal]:
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        raise UsageError(f"usage.quantities: {data!r} is not an object of name and number")
    answer: dict[str, int | Decimal] = {}
    for name, value in data.items():
        if type(value) is int or isinstance(value, Decimal):
            answer[name] = value
        elif isinstance(value, str):
            try:
                answer[name] = exact_decimal(value)
            except ValueError:
                raise UsageError(f"usage.quantities.{name}: {value!r} is not a number") from None
        else:
            raise UsageError(f"usage.quantities.{name}: {value!r}; give an integer, or a fraction as a string")
    return answer


def _hint(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, [f.name for f in fields(Usage)], n=1)
    return (
        f"did you mean {near[0]!r}?"
        if near
        else f"the components are {', '.join(TOKEN_FIELDS)}, or put it under quantities"
    )
