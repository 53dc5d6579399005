"""Writes docs/api.md: signatures and docstrings of the public names, read by griffe. `make docs` runs it.

Griffe parses the source without importing it, so the page shows annotations as they are written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import griffe

import tokenmeter
import tokenmeter.testing

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "api.md"
_WIDTH: Final = 100
_HEAD: Final = """\
# API

Generated from the docstrings by `make docs`; do not edit it by hand. Names that are not on this page are not public
and may change at any time. How the parts work together: [architecture](architecture.md).
"""
_OTEL: Final = (
    "CostSpanProcessor", "CostSpanExporter", "TraceCostProcessor", "ConversationProcessor", "CountedExporter",
)  # fmt: skip


def page() -> str:
    """The text of docs/api.md."""
    package = griffe.load("tokenmeter", search_paths=[str(ROOT)], resolve_aliases=True)
    names = [name for name in tokenmeter.__all__ if name != "__version__"]
    found = {name: _target(package[name]) for name in names}
    sections = [
        ("Functions", "tokenmeter", {name: one for name, one in found.items() if one.is_function}),
        ("Classes", "tokenmeter", {name: one for name, one in found.items() if one.is_class and not _is_error(name)}),
        ("Errors", "tokenmeter", {name: one for name, one in found.items() if _is_error(name)}),
        ("OpenTelemetry", "tokenmeter.otel", {name: _in_otel(package, name) for name in _OTEL}),
        ("Testing", "tokenmeter.testing", {
            name: _target(package[f"testing.{name}"]) for name in tokenmeter.testing.__all__
        }),
    ]  # fmt: skip
    body: list[str] = []
    for title, module, entries in sections:
        body += ["", f"## {title}", "", f"In `{module}`.", ""]
        for name, entry in entries.items():
            body += _entry(name, entry)
    anchors = _anchors(body)
    lines = [_HEAD]
    for title, _, entries in sections:
        links = ", ".join(f"[{name}](#{next(anchors[name])})" for name in entries)
        lines.append(f"- [{title}](#{next(anchors[title])}): {links}")
    return "\n".join([*lines, *body]).rstrip() + "\n"


def _anchors(body: Iterable[str]) -> dict[str, Iterator[str]]:
    """The anchors of each heading, in order; forges append a number where a heading's text is repeated."""
    seen: Counter[str] = Counter()
    anchors: dict[str, list[str]] = {}
    for line in body:
        if line.startswith("#"):
            title = line.lstrip("# ")
            slug = re.sub(r"[^\w-]", "", title.lower())
            anchors.setdefault(title, []).append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return {title: iter(found) for title, found in anchors.items()}


def _target(entry: Any) -> Any:
    return entry.final_target if entry.is_alias else entry


def _in_otel(package: Any, name: str) -> Any:
    """A class of `tokenmeter.otel`, in whichever module of the folder it is defined."""
    folders = [package["otel"]]
    for folder in folders:
        folders += folder.modules.values()
        if name in folder.members and not folder.members[name].is_alias:
            return folder.members[name]
    raise LookupError(f"tokenmeter.otel has no {name}")


def _is_error(name: str) -> bool:
    value = getattr(tokenmeter, name)
    return isinstance(value, type) and issubclass(value, BaseException)


def _entry(name: str, entry: Any) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if entry.is_function:
        yield from _code(_signature(name, entry))
        yield from _doc(entry)
        return
    yield from _class(name, entry)


def _class(name: str, entry: Any) -> Iterator[str]:
    bases = ", ".join(map(str, entry.bases))
    init = entry.members.get("__init__")
    enum = "Enum" in bases
    if enum or bases.endswith(("Error", "Exception", "Protocol")):
        yield from _code(f"class {name}({bases})")
    else:
        yield from _code(_signature(name, init if init is not None else entry, returns=False))
    yield from _doc(entry)
    if init is not None and init.docstring is not None:
        yield from _doc(init)
    yield from _attributes(entry, enum)
    for method, part in entry.members.items():
        if part.is_function and not part.is_alias and part.docstring is not None and not method.startswith("_"):
            kind = "async " if "async" in part.labels else ""
            yield f"#### {name}.{method}"
            yield ""
            yield from _code(kind + _signature(method, part))
            yield from _doc(part)


def _attributes(entry: Any, enum: bool) -> Iterator[str]:
    """A list of fields, enum members and properties; those without a docstring only if they have a type."""
    rows = []
    for name, part in entry.members.items():
        if not part.is_attribute or part.is_alias or name.startswith("_"):
            continue
        text = " ".join(part.docstring.value.split()) if part.docstring else ""
        kind = str(part.value) if enum else str(part.annotation) if part.annotation is not None else ""
        if kind or text:
            rows.append(f"- `{name}`" + (f" (`{kind}`)" if kind else "") + (f": {text}" if text else ""))
    if rows:
        yield from (*rows, "")


def _signature(name: str, entry: Any, *, returns: bool = True) -> str:
    """`name(parameters) -> type`, in one line where it fits, else with a line for each parameter."""
    parts = []
    starred = False
    for one in entry.parameters:
        if one.name in ("self", "cls"):
            continue
        kind = one.kind.value if one.kind else ""
        text = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "") + one.name
        starred = starred or kind == "variadic positional"
        if kind == "keyword-only" and not starred:
            parts.append("*")
            starred = True
        if one.annotation is not None:
            text += f": {one.annotation}"
        if one.default is not None and not text.startswith("*"):
            default = str(one.default)
            text += " = ..." if "lambda" in default or "_" in default[:1] else f" = {default}"
        parts.append(text)
    result = getattr(entry, "returns", None)
    tail = f" -> {result}" if returns and result is not None else ""
    line = f"{name}({', '.join(parts)}){tail}"
    if len(line) <= _WIDTH:
        return line
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){tail}"


def _code(text: str) -> Iterator[str]:
    yield from ("```text", text, "```", "")


def _doc(entry: Any) -> Iterator[str]:
    if entry.docstring is not None:
        yield from (cleandoc(entry.docstring.value), "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
