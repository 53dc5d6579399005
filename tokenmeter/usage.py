"""Tokens and other quantities of one call, each with the place it came from.

Totals are inclusive, whatever the vendor's own meaning: cached, audio and image input are part of
`input_tokens`, reasoning is part of `output_tokens` (as in OpenTelemetry's GenAI conventions). `None` means "not
reported" and is never zero. What is not counted in tokens (images, seconds, searches) goes under `quantities`.

A vendor's numbers may contradict one another. That is never an exception here: `contradictions` names it, and
pricing answers "unpriced" with the reason.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, fields, replace
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.late_dataclass import late_dataclass
from tokenmeter.components import COMPONENTS, FIELDS, PIECES, TOTALS, component_of, parts_of, piece_name
from tokenmeter.errors import UsageError
from tokenmeter.money import exact_decimal, plain
from tokenmeter.sources import Source, worst

if TYPE_CHECKING:
    from tokenmeter.token_count import TokenCount

__all__ = ["Source", "Usage", "worst"]

_TOTALS: Final = tuple(total.usage for total in TOTALS)
INPUT_SUBSETS: Final = tuple(part.usage for part in FIELDS if part.inside == "input")
OUTPUT_SUBSETS: Final = tuple(part.usage for part in FIELDS if part.inside == "output")
TOKEN_FIELDS: Final = (*_TOTALS, *INPUT_SUBSETS, *OUTPUT_SUBSETS)
_MAPPINGS: Final = ("cache_writes", "cached_media", "quantities", "sources", "ranges")
_LIFETIME: Final = r"cache_write_([0-9]+[a-z]+)_input_tokens"
_CACHED: Final = {part.usage: part.modality for part in COMPONENTS if part.inside == "cache_read"}
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@late_dataclass(frozen=True, slots=True, kw_only=True)
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
        for name in _MAPPINGS:
            if not isinstance(getattr(self, name), Mapping):
                raise UsageError(f"usage.{name}: {getattr(self, name)!r:.200} is no mapping of names to numbers")
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
        """The least trustworthy source among input and output, or of the pieces where the usage has only those."""
        if self.input_tokens is None and self.output_tokens is None and (pieces := self.quantities.keys() & PIECES):
            return worst(*(self.source_of(name) for name in pieces))
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
        if not isinstance(data, Mapping):
            raise UsageError(f'a usage is a mapping such as {{"input_tokens": 1000}}, not {data!r:.200}')
        known: dict[str, Any] = {}
        writes: dict[str, int] = {}
        media: dict[str, int] = {}
        whole = source is Source.REPORTED
        for name, value in data.items():
            if not isinstance(name, str):
                raise UsageError(f"usage: {name!r:.200} is no name of a component, such as 'input_tokens'")
            if name in TOKEN_FIELDS:
                known[name] = value
            elif match := re.fullmatch(_LIFETIME, name):
                writes[match[1]] = value
            elif medium := _CACHED.get(name):
                media[medium] = value
            elif name != "quantities":
                raise UsageError(f"usage.{name}: not a component; {_hint(name)}")
            whole = whole and (type(value) is int or name == "quantities")
        quantities = _quantities(data.get("quantities"))
        if whole and cls is Usage:
            return checked_usage(known, cache_writes=writes, cached_media=media, quantities=quantities)
        return cls(**known, cache_writes=writes, cached_media=media, quantities=quantities, source=source)

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

    def disjoint(self) -> dict[str, int]:
        """Tokens by component so that they add up: what is left of each after everything that lies inside it.

        Keys are names of components: the known totals, and their parts that are not zero. A number below zero says
        that parts contradict their total, or overlap by an amount that the usage does not tell. One rule follows for
        every reader: where a group of components (by price, by field, by modality) sums up to less than zero, the
        split of that total is not known.
        """
        answer: dict[str, int] = {}
        for total in TOTALS:
            whole = getattr(self, total.usage)
            if whole is not None:
                parts = self._parts(total.name)
                answer[total.name] = whole - sum(parts.values())
                answer |= parts
        return answer

    def _parts(self, total: str) -> dict[str, int]:
        """The parts of a total, disjoint. An unknown component that has a split is the sum of the split."""
        parts: dict[str, int] = {}
        pieces: list[tuple[str, str, int]] = []
        for part in parts_of(total):
            tokens = getattr(self, part.usage)
            if tokens:
                parts[part.name] = tokens
            if part.split is not None and (split := getattr(self, part.split)):
                named = [(piece_name(part.split, key), part.name, count) for key, count in split.items()]
                parts.update((name, count) for name, _, count in named)
                pieces += named
                if tokens is None:
                    parts[part.name] = sum(split.values())
        for name, above, count in pieces:
            parts[above] = parts.get(above, 0) - count
            piece = component_of(name)
            if piece is not None and piece.within is not None:
                parts[piece.within] = parts.get(piece.within, 0) - count
        return parts

    def contradictions(self) -> tuple[str, ...]:
        """What cannot be true of these numbers, in words; empty when they agree."""
        found = [f"{name} is negative" for name, value in self.items() if value < 0]
        for total in TOTALS:
            whole = getattr(self, total.usage)
            if whole is None:
                continue
            for part in parts_of(total.name):
                tokens = getattr(self, part.usage)
                if tokens is not None and tokens > whole:
                    found.append(f"{part.usage} is above {total.usage}")
        cached = (self.cache_read_input_tokens or 0) + (self.cache_write_input_tokens or 0)
        if self.input_tokens is not None and cached > self.input_tokens and not found:
            found.append("cache reads and writes together are above input_tokens")
        if (
            self.cache_write_input_tokens is not None
            and sum(self.cache_writes.values()) > self.cache_write_input_tokens
        ):
            found.append("cache writes by lifetime are above cache_write_input_tokens")
        return tuple(found)


def _named_init() -> Any:
    """`Usage.__init__`, which answers a name that is no component as `from_dict` does and not by a bare TypeError."""
    made = Usage.__init__
    names = {field.name for field in fields(Usage)}

    @functools.wraps(made)
    def init(self: Usage, *positional: Any, **given: Any) -> None:
        if positional:
            raise UsageError(f"Usage({positional[0]!r}): name the components: Usage(input_tokens=…, output_tokens=…)")
        if not given.keys() <= names:
            wrong = next(name for name in given if name not in names)
            raise UsageError(f"usage.{wrong}: not a component; {_hint(wrong)}")
        made(self, **given)

    return init


Usage.__init__ = _named_init()  # type: ignore[method-assign]

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
    source: Source = _REPORTED,
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
    usage.source = source
    usage.sources = sources
    usage.ranges = _EMPTY
    usage.__class__ = Usage
    answer: Usage = usage
    return answer


def usage_of(tokens: Sequence[int | None]) -> Usage:
    """A reported `Usage` of plain token counts, in the order of `TOKEN_FIELDS`, that the caller has checked already."""
    usage: Any = _Draft()
    (
        usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_write_input_tokens,
        usage.audio_input_tokens, usage.image_input_tokens, usage.video_input_tokens, usage.reasoning_output_tokens,
        usage.audio_output_tokens, usage.image_output_tokens,
    ) = tokens  # fmt: skip
    usage.cache_writes = usage.cached_media = usage.quantities = usage.sources = usage.ranges = _EMPTY
    usage.source = _REPORTED
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


# How vendors write what is here an input or output, without case and underscores. They are not taken as ours: whether
# cached input and reasoning lie inside differs by vendor, and only the wire format knows.
_VENDORS_WORDS: Final[Mapping[str, str]] = {
    word: ours
    for ours, words in {
        "input_tokens": "prompttokens prompttokencount promptevalcount inputtokencount inputtokens",
        "output_tokens": "completiontokens candidatestokencount evalcount outputtokencount outputtokens",
        "cache_read_input_tokens": "cachedtokens cachereadtokens promptcachehittokens cachedcontenttokencount",
        "cache_write_input_tokens": "cachecreationinputtokens cachewritetokens cachecreationtokens",
        "reasoning_output_tokens": "reasoningtokens thoughtstokencount thinkingtokens",
        "input_tokens and output_tokens together, which are given apart": "totaltokens totaltokencount",
        "an amount under quantities": "images videos pages characters seconds duration",
    }.items()
    for word in words.split()
}


def _hint(name: str) -> str:
    if ours := _VENDORS_WORDS.get(name.lower().replace("_", "")):
        return f"it is a vendor's word for {ours}; observe(reply) and extract read a vendor's usage as it comes"
    import difflib

    near = difflib.get_close_matches(name, [f.name for f in fields(Usage)], n=1)
    return (
        f"did you mean {near[0]!r}?"
        if near
        else f"the components are {', '.join(TOKEN_FIELDS)}, or put it under quantities"
    )
