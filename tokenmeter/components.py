"""The table of components: every kind of token or unit that a call can use and a vendor can bill.

A new component is a row of `COMPONENTS`; one that is a field of `Usage` is declared there too. The other places read
this table: the price schema (`prices/components.py`), the split of a total (`Usage.disjoint`), sums and metrics
(`otel/sum_tables.py`), span attributes (`otel/semconv.py`), columns of the ledger
(`ledger/tables.py`), columns of the report (`ledger/report/columns.py`), flags of `tokenmeter price` (`cli/price.py`).
"""

from __future__ import annotations

import re
from functools import cache, partial
from typing import Final

from tokenmeter._support.value import Value

__all__ = [
    "BESIDE",
    "COMPONENTS",
    "FIELDS",
    "PIECES",
    "TOTALS",
    "Component",
    "component_of",
    "field_of",
    "parts_of",
    "piece_name",
    "total_of",
]

_LIFETIME: Final = r"cache_write_[0-9]+[a-z]+"


class Component(Value):
    """One kind of quantity. `usage` is its field of `Usage`, its key of a split, or its key under `quantities`."""

    name: str
    """As price files and charges name it."""
    usage: str
    per: int = 1_000_000
    """How many of it a price is for, unless the price file says otherwise."""
    unit: str = "{token}"
    """UCUM, as OpenTelemetry writes units."""
    inside: str | None = None
    """The component whose quantity contains it, so that charges and sums stay disjoint."""
    within: str | None = None
    """A second component that contains it: cached audio is part of cached input and of audio input."""
    split: str | None = None
    """The mapping of `Usage` that divides it further: by lifetime or by modality."""
    stand_in: str | None = None
    """The component whose price bills it where a price file has none."""
    modality: str | None = None
    otel: str | None = None
    """The span attribute that the GenAI conventions define for it, as backends read it today."""
    flag: str | None = None
    """Its flag of `tokenmeter price` and its name in metrics, where that is shorter than `name`."""
    measures: str | None = None
    """What it measures, where vendors count one thing in several ways: a bill holds one measure of it."""
    beside: bool = False
    """Whether it is a fee on top of a call's tokens, and not what the call is billed by."""
    ledger: int | None = None
    """The schema version of the ledger that brought its column: a field of `Usage` has one, and nothing else has.

    The newest is the version of the ledger at least: a file of an older one gets the column when it is next written to.
    """

    @property
    def short(self) -> str:
        """The name in flags and metrics."""
        return self.flag or self.name


_field: Final = partial(Component, ledger=1)


def _cached(modality: str) -> Component:
    name = f"{modality}_cache_read"
    return Component(name, f"{name}_input_tokens", inside="cache_read", within=f"{modality}_input", modality=modality)


_USAGE: Final = "gen_ai.usage."

COMPONENTS: Final = (
    # Tokens of the input; each row stands below the one that contains it.
    _field("input", "input_tokens", otel=f"{_USAGE}input_tokens"),
    _field(
        "cache_read", "cache_read_input_tokens", inside="input", split="cached_media",
        otel=f"{_USAGE}cache_read.input_tokens",
    ),
    _cached("audio"),
    _cached("image"),
    _cached("video"),
    # The name that backends read; the conventions' newest one, `cache_write`, is the dialect `otel`.
    _field(
        "cache_write", "cache_write_input_tokens", inside="input", split="cache_writes",
        otel=f"{_USAGE}cache_creation.input_tokens",
    ),
    _field(
        "audio_input", "audio_input_tokens", inside="input", modality="audio", measures="audio",
        otel=f"{_USAGE}audio.input_tokens",
    ),
    _field(
        "image_input", "image_input_tokens", inside="input", modality="image", measures="image sent",
        otel=f"{_USAGE}image.input_tokens",
    ),
    _field("video_input", "video_input_tokens", inside="input", modality="video", measures="video sent"),
    # Tokens of the output.
    _field("output", "output_tokens", otel=f"{_USAGE}output_tokens"),
    # OpenAI, DeepSeek, Ark, iFlytek bill thoughts as output; a vendor that differs states a price.
    _field(
        "reasoning_output", "reasoning_output_tokens", inside="output", stand_in="output", flag="reasoning",
        otel=f"{_USAGE}reasoning.output_tokens",
    ),
    _field(
        "audio_output", "audio_output_tokens", inside="output", modality="audio", measures="speech",
        otel=f"{_USAGE}audio.output_tokens",
    ),
    _field(
        "image_output", "image_output_tokens", inside="output", modality="image", measures="image",
        otel=f"{_USAGE}image.output_tokens",
    ),
    # Units under `Usage.quantities`.
    Component("cache_storage", "cache_storage_token_hours", unit="{token}.h", beside=True),
    Component("cache_storage_minutes", "cache_storage_token_minutes", unit="{token}.min", beside=True),
    Component("cache_hit", "cache_hit_calls", 1, "{call}", beside=True),
    Component("request", "requests", 1_000, "{request}", beside=True),
    Component("web_search", "web_search_calls", 1_000, "{call}", beside=True),
    Component("file_search", "file_search_calls", 1_000, "{call}", beside=True),
    Component("code_interpreter", "code_interpreter_sessions", 1, "{session}", beside=True),
    Component("rerank", "rerank_queries", 1_000, "{query}", measures="query"),
    Component("pages", "pages", 1_000, "{page}", measures="page"),
    Component("characters", "characters", 1_000, "{character}", measures="speech"),
    Component("output_characters", "output_characters", 1_000, "{character}", measures="speech"),
    Component("images", "images", 1, "{image}", measures="image"),  # images made
    # Images sent, where the vendor bills by the piece.
    Component("input_images", "input_images", 1, "{image}", measures="image sent"),
    Component("audio_seconds", "audio_seconds", 1, "s", measures="audio"),  # audio sent (transcription)
    Component("output_audio_seconds", "output_audio_seconds", 1, "s", measures="speech"),  # audio made (speech)
    Component("video_seconds", "video_seconds", 1, "s", measures="video"),  # video made
    Component("input_video_seconds", "input_video_seconds", 1, "s", measures="video sent"),
    Component("videos", "videos", 1, "{video}", measures="video"),
    Component("video_tokens", "video_tokens", measures="video"),  # video made, where the vendor bills by the token
)  # fmt: skip
"""One row for each component. `cache_write_5m`, `cache_write_1h` ... are components too: see `component_of`."""

_BY_NAME: Final = {component.name: component for component in COMPONENTS}
FIELDS: Final = tuple(component for component in COMPONENTS if component.ledger is not None)
"""The components that are fields of `Usage`."""
TOTALS: Final = tuple(component for component in FIELDS if component.inside is None)
"""`input` and `output`."""
PIECES: Final = frozenset(
    part.usage for part in COMPONENTS if part.measures and part.ledger is None and not part.name.startswith("input_")
)
"""The quantities that a call can be billed by instead of tokens: images made, seconds, characters, pages, queries."""
BESIDE: Final = frozenset(part.usage for part in COMPONENTS if part.beside)
"""The quantities that are a fee on top of a call's tokens."""


@cache
def parts_of(total: str) -> tuple[Component, ...]:
    """The fields of `Usage` inside a total, in the order of the table."""
    return tuple(part for part in FIELDS if part.inside == total)


def piece_name(split: str, key: str) -> str:
    """The component for one key of `Usage.cache_writes` (a lifetime) or `Usage.cached_media` (a modality)."""
    return f"cache_write_{key}" if split == "cache_writes" else f"{key}_cache_read"


@cache
def component_of(name: str) -> Component | None:
    """The component of this name, lifetimes of cache writes included; None if there is none."""
    found = _BY_NAME.get(name)
    if found is None and re.fullmatch(_LIFETIME, name):
        written = _BY_NAME["cache_write"]
        return Component(name, f"{name}_input_tokens", written.per, inside=written.name)
    return found


@cache
def field_of(name: str) -> Component:
    """The field of `Usage` that counts a component of tokens: itself, or the one that it is a split of."""
    found = component_of(name)
    if found is None:  # a lifetime or a modality that no vendor has been seen to use
        found = _BY_NAME["cache_write" if name.startswith("cache_write_") else "cache_read"]
    return found if found.ledger is not None or found.inside is None else field_of(found.inside)


@cache
def total_of(name: str) -> str:
    """The total that contains a component of tokens: `input` or `output`."""
    field = field_of(name)
    return field.inside or field.name
