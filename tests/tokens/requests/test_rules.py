"""The rules, bands and formulas are data: well formed, reasoned, and each one reachable."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter.errors import CatalogError
from tokenmeter.tokens import count_request
from tokenmeter.tokens.requests import rules
from tokenmeter.tokens.requests.error_bands import ANY, KINDS, OTHER_HOST, band_of, load_bands
from tokenmeter.tokens.requests.formulas import load_formulas
from tokenmeter.tokens.requests.options import PLAIN, read_options
from tokenmeter.tokens.requests.rules import find_rule, load_rules


def test_every_rule_says_where_it_comes_from_and_has_a_name_of_its_own() -> None:
    found = load_rules()
    assert len({rule.id for rule in found}) == len(found)
    assert all(rule.source for rule in found)
    assert all(rule.models or rule.providers or rule.apis or rule.families for rule in found)


def test_every_band_belongs_to_a_rule() -> None:
    names = {rule.id for rule in load_rules()}
    bands = load_bands()
    assert set(bands.kinds) <= names | {ANY, OTHER_HOST}
    assert all(min(band) >= 0 for kinds in bands.kinds.values() for band in kinds.values())
    assert all(band.sources > 0 for kinds in bands.kinds.values() for band in kinds.values())


@pytest.mark.parametrize("kind", KINDS)
def test_an_unmeasured_rule_has_a_wide_band(kind: str) -> None:
    spread = band_of("nobody", (kind,), 1000)
    assert not spread.measured
    assert not spread.proved
    assert spread.below + spread.above >= 15
    usual = load_bands().kinds[ANY].get(kind)
    assert usual is None or spread[:2] == (
        usual.below + 1000 * usual.below_share,
        usual.above + 1000 * usual.above_share,
    )


def test_a_rule_is_less_sure_of_a_provider_it_was_not_measured_on() -> None:
    known = band_of("openai-4-chat", ("plain",), 1000, "openai")
    elsewhere = band_of("openai-4-chat", ("plain",), 1000, "some-gateway")
    assert known.proved
    assert not elsewhere.proved
    assert elsewhere.below > known.below
    assert elsewhere.above > known.above


def test_a_provider_is_known_by_its_other_names() -> None:
    assert band_of("qwen-hosted", ("plain",), 1000, "dashscope") == band_of("qwen-hosted", ("plain",), 1000, "alibaba")


@pytest.mark.parametrize(
    ("provider", "model", "api", "rule"),
    [
        pytest.param("openai", "gpt-4o-2024-08-06", "openai.chat", "openai-4-chat", id="dated name"),
        pytest.param("openai", "gpt-5-mini", "openai.responses", "openai-5-responses", id="gpt-5"),
        pytest.param("openrouter", "openai/gpt-5", "openai.chat", "openai-5-gateway", id="gateway"),
        pytest.param("openrouter", "openai/gpt-4.1-mini", "openai.chat", "openai-4.1-gateway", id="gpt-4.1, passed on"),
        pytest.param("bedrock", "openai.gpt-5.6-luna", "openai.responses", "openai-5-responses", id="Bedrock's prefix"),
        pytest.param("bedrock", "us.deepseek.r1-v1:0", "bedrock.converse", "deepseek-v3-open", id="and a region's"),
        pytest.param("bedrock", "meta.llama3-1-70b-instruct-v1:0", "bedrock.converse", "llama-3.1", id="Llama 3.1"),
        pytest.param("openrouter", "anthropic/claude-4.5-haiku-20251001", "openai.chat", "claude-4.5", id="returned"),
        pytest.param("venice", "mistral-small-3-2-24b-instruct", "openai.chat", "venice-mistral", id="Venice"),
        pytest.param("groq", "moonshotai/kimi-k2-instruct-0905", "openai.chat", "kimi-k2-groq", id="Kimi on Groq"),
        pytest.param(
            "together", "deepseek-ai/DeepSeek-V3.1", "openai.chat", "deepseek-v3.1-hosts", id="V3.1 on a host"
        ),
        pytest.param("xai", "grok-4.3", "openai.responses", "grok-4.3", id="Grok"),
        pytest.param("azure-openai", "grok-4-1-fast-non-reasoning", "openai.chat", "grok-azure", id="Grok on Azure"),
        pytest.param(None, "Qwen/Qwen3-Coder-480B-A35B-Instruct", "openai.chat", "qwen3-coder", id="Qwen3-Coder"),
        pytest.param("azure-openai", "my-deployment", "openai.chat", "openai-any-chat", id="a deployment's own name"),
        pytest.param("google", "gemini-2.5-pro", "gemini.generate", "gemini-2.5", id="AI Studio"),
        pytest.param("google-vertex", "gemini-2.5-pro", "gemini.generate", "gemini-words", id="Vertex AI"),
        pytest.param("alibaba", "qwen-max", "openai.chat", "qwen-hosted-max", id="qwen-max"),
        pytest.param("zhipuai", "glm-4.7", "openai.chat", "glm-4.7", id="another name of a provider"),
        pytest.param("deepseek", "deepseek-chat", "openai.chat", "deepseek-v4", id="DeepSeek now"),
        pytest.param(
            "aws-bedrock", "us.anthropic.claude-sonnet-4-5-v1:0", "bedrock.converse", "claude-4.5", id="Bedrock"
        ),
    ],
)
def test_the_rule_of_an_endpoint(provider: str, model: str, api: str, rule: str) -> None:
    found = find_rule(provider, model, api, "any")
    assert found is not None
    assert found.id == rule


def test_rules_are_dated() -> None:
    at = {
        date: find_rule("deepseek", "deepseek-chat", "openai.chat", "any", date)
        for date in ("2025-01", "2025-10", "2026-09")
    }
    assert [rule.id for rule in at.values() if rule] == ["deepseek-v3", "deepseek-v3.1", "deepseek-v4"]


def test_problems_in_a_rule_file_are_shown_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text(
        '[[rule]]\nid = "a"\nstrat = 3\ntools = { stile = "json" }\n[[rule]]\nid = "b"\nsource = "s"\nlike = "c"\n'
    )
    monkeypatch.setattr(rules, "_FOLDER", tmp_path)
    load_rules.cache_clear()
    try:
        with pytest.raises(CatalogError) as caught:
            load_rules()
    finally:
        load_rules.cache_clear()
    assert len(caught.value.problems) == 4
    assert any("'strat' is not a key" in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        pytest.param({"compct": True}, "'compct' is not an option", id="a slip"),
        pytest.param({"forced": True}, "forced = True must be a whole number", id="a switch for a number"),
        pytest.param({"none_hides": 1}, "none_hides = 1 must be true or false", id="a number for a switch"),
        pytest.param({"drop": "title"}, "drop = 'title' must be a list", id="a text for a list"),
    ],
)
def test_an_option_of_a_rule_has_a_known_name_and_type(entry: dict[str, object], problem: str) -> None:
    problems: list[str] = []
    read_options(entry, "rule 1.tools.options", problems)
    assert len(problems) == 1
    assert problems[0].startswith("rule 1.tools.options: ")
    assert problem in problems[0]


def test_an_absent_option_is_not_zero() -> None:
    given = read_options({"forced": 0, "drop": ["title"]}, "", [])
    assert (given.forced, PLAIN.forced, given.drop) == (0, None, ("title",))


def test_every_formula_has_an_ordered_range() -> None:
    assert all(formula.unknown[1] <= formula.unknown[0] <= formula.unknown[2] for formula in load_formulas())


def test_deepseeks_effort_text_is_in_every_thinking_prompt_of_either_endpoint() -> None:
    chat = {"messages": [{"role": "user", "content": "What is 2 + 2?"}]}
    response = {"input": chat["messages"]}
    counts = [
        count_request(body, provider="deepseek", model="deepseek-v4-flash", api=api).tokens or 0
        for body, api in ((chat, "openai.chat"), (response, "openai.responses"))
    ]
    assert counts[1] == counts[0] == 3 + 1 + 8 + 79
