"""The options of a rule's patterns: every switch and measured number that a `rules/*.toml` may set, in one schema.

`render` reads the first group (how a piece is written), `itemize` the others (tokens added by what a request says).
None marks an option whose absence means something else than 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

__all__ = ["PLAIN", "PatternOptions", "read_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternOptions:
    """What varies between patterns of one style; token counts may be negative."""

    # JSON, as the template's server writes it.
    compact: bool = False
    ascii: bool = False
    sort: bool = False
    indent: int | None = None
    # A tool's declaration as JSON.
    keys: tuple[str, ...] = ("name", "description", "parameters")
    empty_description: bool = False
    empty_parameters: bool = False
    raw: bool = False
    """The declaration as it was sent."""
    wrap: bool = True
    """The declaration stands inside `{"type": "function", "function": …}`."""
    form: str = ""
    """A sentence about the tool, for the style `text`."""
    # Arguments of a call, for the style `tags`.
    argument: str = ""
    between: str = ""
    # Marks for a parameter's syntax, for the style `slots`.
    parameter: int = 0
    optional: int = 0
    enum: int = 0
    array: int = 0
    object: int = 0
    drop: tuple[str, ...] = ()
    """Keys of a schema that the endpoint does not show to the model."""

    # tools
    none_hides: bool = False
    """Tools are not shown to the model where the choice is `none`."""
    forced_only: bool = False
    """Only the tool asked for by name is shown."""
    uncommented: int = 0
    """Tokens per tool with properties of which none has a comment."""
    grammar: int = 0
    """Tokens per custom tool whose input follows a grammar."""
    undescribed: int = 0
    """Tokens where the first tool has no description."""
    forced_flat: int | None = None
    """Tokens where one tool is asked for by name, instead of `forced` and the name."""
    single_calls: int = 0
    """Tokens where parallel calls are switched off."""
    added: int = 0
    """Tokens where tools are offered later in the conversation."""
    # tools, and calls in an answer
    forced_single: int = 0
    """Tokens more where one tool is asked for by name and parallel calls are switched off."""
    # calls
    parallel_empty: int = 0
    """Tokens more per call without arguments, where one message makes several calls."""
    spaced_alone: bool = False
    """A single call whose JSON has spaces is billed as one of several: it was made through the wrapper for those."""
    stored: int = 0
    """Tokens per call that carries the server's own id."""
    required_one: int = 0
    """Tokens where a call is required and there is one tool to call: its name is not billed again."""
    forced: int | None = None
    """Tokens beside the arguments of the one call asked for by name; None bills it as any other call."""
    run: int = 0
    """Tokens per run of calls that stand in items of their own."""
    # schema, and each described parameter of the style `slots`
    described: int | None = None
    """Tokens beside the description; None does not count the schema's description."""
    with_tools: int | None = None
    """Tokens where tools are offered too, instead of `with_system`."""
    # output
    reasoning: int = 0
    mixed: int = 0
    """Tokens where text stands before calls."""
    tools: int = 0
    schema: int = 0
    schema_tools: int = 0


PLAIN: Final = PatternOptions()
_NAMES: Final = {bool: "true or false", int: "a whole number", str: "a text", list: "a list"}


def _type_of(default: object) -> type:
    return list if isinstance(default, tuple) else int if default is None else type(default)


_TYPES: Final = {one.name: _type_of(one.default) for one in fields(PatternOptions)}


def read_options(entry: Mapping[str, Any], place: str, problems: list[str]) -> PatternOptions:
    """The options of a pattern; unknown names and values of another type are added to `problems`."""
    values: dict[str, Any] = {}
    for key, value in entry.items():
        wanted = _TYPES.get(key)
        if wanted is None:
            problems.append(f"{place}: {key!r} is not an option; the options are {', '.join(sorted(_TYPES))}")
        elif type(value) is not wanted:
            problems.append(f"{place}: {key} = {value!r} must be {_NAMES[wanted]}")
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return PatternOptions(**values)
