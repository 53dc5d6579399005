"""The compiler's rules, each on a handful of facts: what is announced, and what belongs to which base."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.price_book.build_book import OUT, compile_book
from tools.price_book.decisions import Decision, decide
from tools.price_book.fact_files import read_file, read_rows
from tools.price_book.facts import read_facts


def compiled(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "example.facts"
    file.write_text(text, encoding="utf-8")
    return tomllib.loads(compile_book(read_facts(read_file(file)))["example"])


def prices(book: dict[str, Any], model: str = "m") -> list[tuple[str, Any]]:
    """The beginning and the input price of each entry of a model."""
    rates = [rate for rate in book["rate"] if rate["model"] == model]
    return [(str(rate.get("effective") or rate["observed"][0]), rate.get("input")) for rate in rates]


OLD = "source litellm==1 read=2026-06-30 by=catalog license=MIT\nmodel m\ninput 2 USD\noutput 10 USD\n"
RISE = "input 3 USD from=2026-09-01\noutput 15 USD from=2026-09-01\n"


def later(price: int, day: str) -> str:
    source = f"source anomalyco/models.dev read={day} by=catalog license=MIT\n"
    return f"{source}model m\ninput {price} USD\noutput {price * 5} USD\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(later(3, "2026-09-10"), [("2026-06-30", 2), ("2026-09-01", 3)], id="confirmed by a later reading"),
        pytest.param(later(2, "2026-09-10"), [("2026-06-30", 2)], id="a later reading has the old price"),
        pytest.param(later(2, "2026-08-30"), [("2026-06-30", 2)], id="read before the day only"),
        pytest.param("", [("2026-06-30", 2)], id="nobody read since"),
    ],
)
def test_an_announced_price_is_a_forecast(tmp_path: Path, text: str, expected: list[tuple[str, int]]) -> None:
    assert prices(compiled(tmp_path, OLD + RISE + text)) == expected


def test_a_forecast_of_a_day_to_come_marks_the_price_that_goes_on(tmp_path: Path) -> None:
    (rate,) = compiled(tmp_path, OLD + RISE)["rate"]
    assert str(rate["announced"]) == "2026-09-01"


def test_a_vendor_that_announces_a_price_is_waited_for_too(tmp_path: Path) -> None:
    """Anthropic's page announced a rise of Claude Sonnet 5 for 2026-09-01, and took it back."""
    text = (OLD + RISE).replace("by=catalog", "by=vendor_doc")
    assert prices(compiled(tmp_path, text + later(2, "2026-09-10"))) == [("2026-06-30", 2)]
    assert prices(compiled(tmp_path, text + later(3, "2026-09-10"))) == [("2026-06-30", 2), ("2026-09-01", 3)]


def test_a_price_read_long_after_it_was_announced_and_refuted_is_of_its_own_day(tmp_path: Path) -> None:
    text = (
        OLD
        + RISE
        + later(2, "2026-09-10")
        + later(3, "2027-01-10").replace("anomalyco/models.dev", "langfuse/langfuse")
    )
    assert ("2026-09-01", 3) not in prices(compiled(tmp_path, text))


def test_a_finer_list_holds_from_the_day_it_was_seen(tmp_path: Path) -> None:
    tiers = later(2, "2026-07-10").replace(
        "input 2 USD", "input 2 USD tier=input<=128000\ninput 4 USD tier=input>128000"
    )
    first, finer = compiled(tmp_path, OLD + tiers)["rate"]
    assert "case" not in first
    assert [case["input"] for case in finer["case"]] == [4]


def test_a_refuted_announcement_marks_nothing(tmp_path: Path) -> None:
    (rate,) = compiled(tmp_path, OLD + RISE + later(2, "2026-09-10"))["rate"]
    assert "announced" not in rate


@pytest.mark.parametrize(
    ("line", "case"),
    [
        pytest.param("input 1 USD when=mode=batch\n", "batch", id="batch"),
        pytest.param("cache_read 0.2 USD\n", "cache_read", id="cache"),
        pytest.param("input 4 USD tier=input>200000\n", "tier", id="tier"),
    ],
)
def test_a_price_belongs_to_the_base_that_it_was_read_with(tmp_path: Path, line: str, case: str) -> None:
    """The cheaper list of another source did not say what a batch, a cache hit or a long call costs."""
    new = later(1, "2026-09-10").replace("USD", "USD from=2026-09-05") + later(1, "2026-09-10").replace(
        "anomalyco/models.dev", "langfuse/langfuse"
    )
    old, fresh = compiled(tmp_path, OLD + line + new)["rate"]
    assert ("case" in old) == (case != "cache_read")
    assert ("cache_read" in old) == (case == "cache_read")
    assert "case" not in fresh
    assert "cache_read" not in fresh


def test_a_flat_row_of_a_snapshot_loses_to_the_tiers_of_its_model(tmp_path: Path) -> None:
    text = (
        "source litellm==1 read=2026-06-30 by=catalog license=MIT\nmodel m-2026-06-01\ninput 2 USD\noutput 10 USD\n"
        "source anomalyco/models.dev read=2026-06-30 by=catalog license=MIT\nmodel m also=m-2026-06-01\n"
        "input 2 USD tier=input<=128000\noutput 10 USD tier=input<=128000\n"
        "input 4 USD tier=input>128000\noutput 20 USD tier=input>128000\n"
    )
    book = compiled(tmp_path, text)
    assert [rate["model"] for rate in book["rate"]] == ["m"]
    assert [(alias["model"], alias["of"]) for alias in book["alias"]] == [("m-2026-06-01", "m")]


def card(source: str, day: str, *lines: str, model: str = "m") -> str:
    return f"source {source} read={day} by=catalog license=MIT\nmodel {model}\n" + "".join(
        f"{line}\n" for line in lines
    )


LITELLM, MODELS_DEV = "litellm==1", "anomalyco/models.dev"


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        pytest.param("input 1 USD tier=input>200000", ("case", "input"), id="a longer call that is cheaper"),
        pytest.param("cache_read 3 USD", ("rate", "cache_read"), id="cached tokens dearer than new ones"),
        pytest.param("cache_write 0.08 USD", ("rate", "cache_write"), id="a cache write at the price of storage"),
    ],
)
def test_a_price_that_contradicts_its_card_is_left_out(tmp_path: Path, line: str, lost: tuple[str, str]) -> None:
    (rate,) = compiled(tmp_path, card(LITELLM, "2026-06-30", "input 2 USD", "output 10 USD", line))["rate"]
    assert rate["input"] == 2
    assert "case" not in rate
    assert lost[0] == "case" or lost[1] not in rate


def test_what_the_vendor_itself_says_of_its_cache_stands(tmp_path: Path) -> None:
    text = card(LITELLM, "2026-06-30", "input 2 USD", "output 10 USD", "cache_write 0.08 USD")
    (rate,) = compiled(tmp_path, text.replace("by=catalog", "by=vendor_doc"))["rate"]
    assert float(rate["cache_write"]) == 0.08


SLIP = card("langfuse/langfuse", "2026-08-01", "input 2000 USD", "output 10 USD")


def test_a_price_a_thousand_times_those_before_is_left_out(tmp_path: Path) -> None:
    assert prices(compiled(tmp_path, OLD + SLIP)) == [("2026-06-30", 2)]


def test_a_price_that_a_second_family_comes_to_is_no_slip(tmp_path: Path) -> None:
    second = card(MODELS_DEV, "2026-08-01", "input 2000 USD", "output 10 USD")
    assert prices(compiled(tmp_path, OLD + SLIP + second))[-1] == ("2026-08-01", 2000)


TIERS = ("input 2 USD tier=input<=200000", "input 4 USD tier=input>200000", "output 10 USD")


def test_a_list_that_becomes_flat_has_no_tiers_any_more(tmp_path: Path) -> None:
    later = card("litellm==2", "2026-09-01", "input 3 USD", "output 15 USD")
    tiered, flat = compiled(tmp_path, card(LITELLM, "2026-06-30", *TIERS) + later)["rate"]
    assert [case["input"] for case in tiered["case"]] == [4]
    assert (flat["input"], "case" in flat) == (3, False)


def test_another_catalog_that_flattens_the_tiers_does_not_end_them(tmp_path: Path) -> None:
    later = card('"npm @earendil-works/pi-ai==1"', "2026-09-01", "input 2 USD", "output 10 USD")
    (rate,) = compiled(tmp_path, card(MODELS_DEV, "2026-06-30", *TIERS) + later)["rate"]
    assert [case["input"] for case in rate["case"]] == [4]


ROUTES = [
    ("aws-bedrock", "us-gov-west-1/amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0", {"region": "us-gov-west-1"}),
    ("aws-bedrock", "regional.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0", {}),
    ("azure-openai", "eu/gpt-4o", "gpt-4o", {"deployment": "data_zone"}),
    ("azure-openai", "global-standard/gpt-4o", "gpt-4o", {}),
    ("fireworks", "accounts/fireworks/models/kimi-k3", "kimi-k3", {}),
    ("openai", "eu/gpt-4o", "eu/gpt-4o", {}),
]


@pytest.mark.parametrize(("provider", "name", "model", "when"), ROUTES)
def test_what_a_catalog_writes_before_a_clouds_id_is_a_condition(
    tmp_path: Path, provider: str, name: str, model: str, when: dict[str, str]
) -> None:
    file = tmp_path / f"{provider}.facts"
    file.write_text(card(LITELLM, "2026-06-30", "input 2 USD", model=name), encoding="utf-8")
    (fact,) = read_facts(read_file(file))
    assert (fact.model, dict(fact.slots[0].when)) == (model, when)


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("aws-bedrock", "us-east-1/6-month-commitment/anthropic.claude-v2:1"),
        ("aws-bedrock", "claude_platform/claude-opus-5"),
    ],
)
def test_what_a_cloud_bills_otherwise_is_no_rate(tmp_path: Path, provider: str, name: str) -> None:
    file = tmp_path / f"{provider}.facts"
    file.write_text(card(LITELLM, "2026-06-30", "input 2 USD", model=name), encoding="utf-8")
    (fact,) = read_facts(read_file(file))
    assert fact.left_out is not None


SURCHARGE = Decision(
    "example", "?", "10% more", "", {"model_lacks": ["global."]}, {"surcharge": "1.1", "over": "global.{model}"}
)


def test_a_surcharged_id_listed_at_the_plain_price_is_raised(tmp_path: Path) -> None:
    text = (
        card(LITELLM, "2026-06-30", "input 2 USD", "output 10 USD", model="global.m")
        + card(LITELLM, "2026-06-30", "input 2 USD", "cache_write 3 USD", model="us.m")
        + card(MODELS_DEV, "2026-06-30", "input 2.2 USD", "cache_write 3 USD", model="eu.m")
        + card(LITELLM, "2026-06-30", "input 7 USD", model="us.other")
    )
    file = tmp_path / "example.facts"
    file.write_text(text, encoding="utf-8")
    facts = read_facts(read_file(file))
    assert decide(facts, {"example": [SURCHARGE]}) == []
    found = {(fact.model, fact.kind): str(fact.price) for fact in facts}
    assert found == {
        ("global.m", "input"): "2",
        ("global.m", "output"): "10",
        ("us.m", "input"): "2.2",
        ("us.m", "cache_write"): "3.3",  # with the input beside it
        ("eu.m", "input"): "2.2",
        ("eu.m", "cache_write"): "3",
        ("us.other", "input"): "7",
    }


def test_a_name_that_two_lists_give_a_model_is_in_force_since_the_earlier_says_so(tmp_path: Path) -> None:
    text = (
        "source litellm==1 read=2026-01-07 by=catalog license=MIT\nmodel m also=m-1\ninput 1 USD\n"
        "source litellm==2 read=2026-01-09 by=catalog license=MIT\nmodel m also=m-1\ninput 1 CNY from=2026-01-08\n"
    )
    (alias,) = compiled(tmp_path, text)["alias"]
    assert alias == {"model": "m-1", "of": "m"}


def test_the_first_list_of_a_provider_stays_its_default(tmp_path: Path) -> None:
    first = card(LITELLM, "2026-01-07", "input 1 USD")
    more = card(LITELLM, "2026-02-07", "input 7 CNY", "output 9 CNY", "cache_read 1 CNY")
    assert compiled(tmp_path, first + more)["currency"] == "USD"


def test_a_catalog_that_still_lists_a_retired_model_does_not_bring_it_back() -> None:
    book = tomllib.loads((OUT / "xai.toml").read_text(encoding="utf-8"))
    *_, last = [rate for rate in book["rate"] if rate["model"] == "grok-build-0.1"]
    assert last["withdrawn"]
    listed = [f for f in read_facts(read_rows()) if f.model == "grok-build-0.1" and (f.first or "") >= "2026-11-19"]
    assert listed, "no catalog lists it: the case is gone"
