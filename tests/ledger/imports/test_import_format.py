"""Formats of imports: the shipped ones are sound, and what is wrong with one of the user's own is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rigs.foreign_calls import BATCH, LANGFUSE, LITELLM, PHOENIX, otlp, otlp_span
from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.ledger.imports.import_format import asked_format, format_names, load_format, read_format, recognized
from tokenmeter.providers.registry import load_providers


@pytest.mark.parametrize("name", format_names())
def test_the_shipped_formats_are_sound(name: str) -> None:
    form = load_format(name)
    assert form.signs
    known = load_providers()
    for provider in (form.provider, *form.providers.values(), *form.models.values()):
        assert provider is None or known.get(provider) is not None


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (otlp(otlp_span()), "otlp"),
        ({"data": [PHOENIX]}, "phoenix"),
        (PHOENIX, "phoenix"),
        ({"data": [LANGFUSE]}, "langfuse"),
        (LITELLM, "litellm"),
        (BATCH, "batch"),
        ({"provider": "openai", "model": "gpt-4o", "input_tokens": "7"}, "plain"),
        ({"id": "x", "started_us": 1, "ended_us": 2, "end_state": "complete", "usage_source": "none"}, "tokenmeter"),
        ({"hello": "world"}, None),
        ({}, None),
        (7, None),
    ],
)
def test_a_document_is_recognized_by_its_fields(document: object, name: str | None) -> None:
    form = recognized(document, map(load_format, format_names()))
    assert (None if form is None else form.name) == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("signs = []", '"kind" is missing'),
        ('kind = "guesses"', "is none of calls, spans, own"),
        ('kind = "calls"', "'started' is missing"),
        ('kind = "calls"\nfiels = 1', 'did you mean "fields"?'),
        ('kind = "calls"\nunit = "hours"\n[fields]\nended = ["at"]', "is none of s, ms, us, ns"),
        ('kind = "calls"\n[fields]\nended = ["at"]\nprompt = ["text"]', "'prompt' is no field of calls"),
        ('kind = "calls"\n[fields]\nended = ["at"]\n[usage.counts]\nin = "inptu"', "'inptu' is not a component"),
        ('kind = "calls"\n[fields]\nended = ["at"]\n[providers]\nx = 1', "providers: x: 1 is no text"),
        ('kind = "spans"\n[fields]\nended = ["at"]', "'trace_id' is missing"),
        ('base = "nothing"', "base: 'nothing' is none of"),
        ("kind = ", "not TOML"),
    ],
)
def test_what_is_wrong_with_a_format_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(CatalogError) as found:
        read_format(tmp_path / "own.toml")
    assert says in str(found.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('kind = "calls"\nunit = "hours"\n[fields]\nprompt = ["text"]\n')
    with pytest.raises(CatalogError) as found:
        read_format(tmp_path / "own.toml")
    assert len(found.value.problems) == 4


def test_one_format_is_asked_for(tmp_path: Path) -> None:
    assert asked_format(None, None) is None
    assert (form := asked_format("otlp", None)) is not None
    assert form.name == "otlp"
    for name, path in (("otlp", "x.toml"), (None, str(tmp_path / "none.toml")), ("nothing", None)):
        with pytest.raises(ConfigurationError):
            asked_format(name, path)
