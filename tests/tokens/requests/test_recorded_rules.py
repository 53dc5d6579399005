"""Rules that recordings showed: bodies in the form of those calls, and the tokens that vendors billed for them."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.tokens import count_output, count_request

JSON_MODE = {"type": "json_object"}
HI = [{"role": "user", "content": "Say hello"}]


def tool(parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": "note", "description": "Take a note", "parameters": parameters} | more,
    }


def counted(
    body: dict[str, Any], provider: str | None, model: str, api: str = "openai.chat", at: str | None = None
) -> int:
    tokens = count_request(body, provider=provider, model=model, api=api, at=at).tokens
    assert tokens is not None
    return tokens


@pytest.mark.parametrize(
    ("provider", "model", "api", "at", "expected"),
    [
        pytest.param("xai", "grok-4.3", "openai.responses", "2026-08-10", 2 + 192, id="Grok 4.3's hidden prompt"),
        pytest.param("xai", "grok-4.3", "openai.responses", "2026-07-03", 2 + 133, id="Grok 4.3's first one"),
        pytest.param("xai", "grok-3-mini", "openai.chat", "2026-03-12", 2 + 3 + 4, id="Grok 3 mini itself"),
        pytest.param("xai", "grok-3-mini", "openai.responses", "2026-08-17", 2 + 192, id="served by Grok 4.3 since"),
        pytest.param("azure-openai", "grok-4-1-fast-non-reasoning", "openai.chat", None, 2, id="none on Azure"),
        pytest.param("perplexity", "sonar", "openai.chat", None, 2, id="Sonar bills the bare text"),
        pytest.param("deepseek", "deepseek-v4-flash", "openai.chat", "2026-07-08", 2 + 4, id="DeepSeek V4"),
        pytest.param("deepseek", "deepseek-v4-flash", "openai.chat", "2026-08-17", 2 + 4 + 79, id="its effort text"),
        pytest.param("doubleword", "deepseek-ai/DeepSeek-V4-Flash", "openai.chat", None, 2 + 4, id="not on hosts"),
        pytest.param("groq", "openai/gpt-oss-120b", "openai.chat", None, 2 + 67 + 4, id="gpt-oss on Groq"),
        pytest.param("cohere", "command-a-03-2025", "cohere.chat.v2", None, 2 + 495, id="Command A's preamble"),
        pytest.param("cohere", "command-r-plus", "cohere.chat.v2", None, 2 + 66, id="Command R's"),
        pytest.param("cohere", "command-r-08-2024", "cohere.chat.v2", None, 2 + 200, id="Command R's of August 2024"),
        pytest.param("aws-bedrock", "us.amazon.nova-2-lite-v1:0", "bedrock.converse", None, 2 + 46, id="Nova 2"),
        pytest.param("aws-bedrock", "amazon.nova-micro-v1:0", "bedrock.converse", None, 2, id="Nova 1 adds nothing"),
        pytest.param("aws-bedrock", "amazon.titan-text-express-v1", "bedrock.converse", None, 2 + 3, id="Titan"),
        pytest.param("aws-bedrock", "cohere.command-r-v1:0", "bedrock.converse", None, 2, id="Command on Bedrock"),
    ],
)
def test_a_prompt_is_billed_as_recorded(provider: str, model: str, api: str, at: str | None, expected: int) -> None:
    body = {"input": HI} if api == "openai.responses" else {"messages": HI}
    assert counted(body, provider, model, api, at) == expected


@pytest.mark.parametrize(
    ("model", "provider", "change", "more"),
    [
        pytest.param("deepseek-v4-flash", "deepseek", {"reasoning_effort": "low"}, -79, id="low effort has no text"),
        pytest.param("deepseek-v4-flash", "deepseek", {"thinking": {"type": "disabled"}}, -79, id="nor no thinking"),
        pytest.param("deepseek-chat", "deepseek", {"response_format": JSON_MODE}, 20, id="JSON mode"),
        pytest.param("mistral-small-latest", "mistral", {"response_format": JSON_MODE}, -12, id="Mistral's JSON mode"),
        pytest.param("claude-opus-4-7", "anthropic", {"thinking": {"type": "enabled"}}, 28, id="Claude's thinking"),
        pytest.param("claude-opus-4-7", "anthropic", {"thinking": {"type": "adaptive"}}, 0, id="adaptive has no text"),
        pytest.param("qwen/qwen3-32b", "groq", {"reasoning_effort": "none"}, 4, id="an empty think block"),
        pytest.param("qwen3-5-9b", "venice", {"venice_parameters": {"disable_thinking": True}}, 2, id="Venice's"),
        pytest.param(
            "qwen3-5-9b",
            "venice",
            {"venice_parameters": {"include_venice_system_prompt": False}},
            -926 - 632,
            id="Venice's own prompt switched off",
        ),
    ],
)
def test_a_switch_adds_what_it_added(model: str, provider: str, change: dict[str, Any], more: int) -> None:
    assert counted({"messages": HI} | change, provider, model) - counted({"messages": HI}, provider, model) == more


def test_dashscopes_old_prompt_is_a_user_message() -> None:
    prompts = [{"input": {"prompt": "Say hello"}}, {"input": {"messages": HI}}]
    counts = [counted(body, "alibaba", "qwen-turbo", "dashscope.generation") for body in prompts]
    assert counts == [2 + 3 + 5 + 4] * 2


@pytest.mark.parametrize(
    ("text", "billed"),
    [
        pytest.param("Reply with exactly: OK", 1522, id="in two files"),
        pytest.param("Remember the codeword ALPHA-17. Reply exactly: ACK-1", 1568, id="in a third"),
    ],
)
def test_the_pro_mode_bills_its_prompts_and_several_readings(text: str, billed: int) -> None:
    body = {"input": [{"role": "user", "content": text}], "reasoning": {"mode": "pro"}}
    assert counted(body, "openai", "gpt-5.6-sol", "openai.responses") == billed


def test_a_beta_header_bills_its_prompt_with_tools() -> None:
    body = {"messages": HI, "tools": [tool({"type": "object", "properties": {}})]}
    headers = {"Anthropic-Beta": "files-api-2025-04-14, interleaved-thinking-2025-05-14"}
    asked: dict[str, Any] = {"provider": "anthropic", "model": "claude-sonnet-4-5", "api": "anthropic.messages"}
    without, with_it = (count_request(body, headers=one, **asked).tokens or 0 for one in (None, headers))
    assert with_it - without == 140
    assert count_request(body | {"anthropic_beta": ["interleaved-thinking-2025-05-14"]}, **asked).tokens == with_it
    assert count_request({"messages": HI}, headers=headers, **asked).tokens == counted(
        {"messages": HI}, "anthropic", "claude-sonnet-4-5", "anthropic.messages"
    )


@pytest.mark.parametrize("api", ["openai.chat", "openai.responses"])
def test_a_grammar_is_shown_and_costs_fifty_tokens_more(api: str) -> None:
    rule = {"syntax": "lark", "definition": "start: expr"}
    shape = {"type": "grammar", "grammar": rule} if api == "openai.chat" else {"type": "grammar"} | rule
    inner = {"name": "math_exp", "description": "Creates expressions"}
    counts = []
    for one in (inner, inner | {"format": shape}):
        declared = {"type": "custom", "custom": one} if api == "openai.chat" else {"type": "custom"} | one
        body = {"messages": HI} if api == "openai.chat" else {"input": HI}
        counts.append(counted(body | {"tools": [declared]}, "openai", "gpt-5", api))
    assert counts[1] - counts[0] == 50 + 5  # `// start: expr` and its newline


def grown(properties: dict[str, Any], less: dict[str, Any], **more: Any) -> int:
    """How many tokens more one form of a tool's parameters costs than another."""
    bodies = [
        {"messages": HI, "tools": [tool({"type": "object", "properties": one, "required": ["a"]} | more)]}
        for one in (properties, less)
    ]
    first, second = (counted(body, "openai", "gpt-4o-mini") for body in bodies)
    return first - second


def test_bounds_are_comments_above_the_property() -> None:
    bounded = {"a": {"type": "integer", "exclusiveMinimum": -1000, "exclusiveMaximum": 1000}}
    assert grown(bounded, {"a": {"type": "integer"}}) == 16  # the two comments, and the token an uncommented tool saves


def test_a_null_default_is_a_type_and_a_comment() -> None:
    described = {"type": "string", "description": "An issue"}
    assert grown({"a": described | {"default": None}}, {"a": described}) == 7


def test_a_reference_shows_its_targets_title_and_description() -> None:
    target = {"type": "object", "properties": {"b": {"type": "string", "description": "x"}}, "required": ["b"]}
    named = target | {"title": "Author", "description": "The author of a book."}
    body = {"a": {"$ref": "#/$defs/Author"}}
    plain, shown = ({"$defs": {"Author": one}} for one in (target, named))
    assert grown(body, body, **shown) == 0
    parameters = [{"type": "object", "properties": body, "required": ["a"], **defs} for defs in (plain, shown)]
    counts = [counted({"messages": HI, "tools": [tool(one)]}, "openai", "gpt-4o") for one in parameters]
    assert counts[1] - counts[0] == 9  # `// Author` and `// The author of a book.`


def test_a_function_inside_a_response_tool_is_ignored() -> None:
    flat = {
        "type": "function",
        "name": "note",
        "description": "Take a note",
        "parameters": {"type": "object", "properties": {}},
    }
    nested = flat | {"function": {"name": "other", "description": "A longer description of another tool"}}
    counts = [counted({"input": HI, "tools": [one]}, "openai", "gpt-4o", "openai.responses") for one in (flat, nested)]
    assert counts[0] == counts[1]


def test_tools_offered_later_cost_their_own_block() -> None:
    later = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [{"type": "function", "name": "note", "parameters": {}}],
    }
    before = counted({"input": HI}, "openai", "gpt-5.4", "openai.responses")
    after = counted({"input": [*HI, later]}, "openai", "gpt-5.4", "openai.responses")
    assert 95 < after - before < 125


def test_a_run_of_calls_costs_ten_tokens_more_than_the_calls() -> None:
    def calls(number: int) -> int:
        items = [
            {"type": "function_call", "call_id": str(at), "name": "note", "arguments": "{}"} for at in range(number)
        ]
        return counted({"input": [*HI, *items]}, "openai", "gpt-5.4", "openai.responses")

    one = calls(1) - calls(0)
    assert calls(2) - calls(0) == 2 * one + 10
    assert calls(3) - calls(0) == 3 * one + 10


@pytest.mark.parametrize(
    ("model", "provider", "choice", "less"),
    [
        pytest.param("gpt-4o", "openai", "required", 8, id="the name of the only tool is not billed"),
        pytest.param("claude-sonnet-4-5", "anthropic", {"type": "any"}, 14, id="nor Claude's opening"),
    ],
)
def test_a_required_call_bills_less(model: str, provider: str, choice: Any, less: int) -> None:
    api = "openai.responses" if provider == "openai" else "anthropic.messages"
    declared = {"type": "function", "name": "note", "input_schema": {}, "parameters": {}}
    calls = [{"name": "note", "arguments": {"a": 1}}]
    counts = [
        count_output(
            model=model, provider=provider, api=api, tool_calls=calls, request={"tools": [declared], **asked}
        ).tokens
        or 0
        for asked in ({}, {"tool_choice": choice})
    ]
    assert counts[0] - counts[1] == less


def answered(arguments: list[str], model: str = "gpt-4o", provider: str = "openai", at: str | None = None) -> int:
    """Tokens of an answer that calls `note` with each of these arguments."""
    calls = [{"name": "note", "arguments": one} for one in arguments]
    return count_output(model=model, provider=provider, api="openai.chat", tool_calls=calls, at=at).tokens or 0


@pytest.mark.parametrize(
    ("provider", "at", "more"),
    [
        pytest.param("openai", "2024-12-18", 0, id="before"),
        pytest.param("openai", "2024-12-20", 1, id="from the end of 2024"),
        pytest.param("openai", "2025-05-12", 1, id="to the spring of 2025"),
        pytest.param("openai", "2025-05-29", 0, id="after"),
        pytest.param("azure-openai", "2026-02-12", 1, id="Azure's deployments"),
    ],
)
def test_a_single_call_costs_one_token_more_at_times(provider: str, at: str, more: int) -> None:
    assert answered(['{"a":1}'], provider=provider, at=at) == answered(['{"a":1}'], at="2026-08-01") + more


def test_a_call_written_with_spaces_went_through_the_wrapper() -> None:
    assert answered(['{"a": 1}']) - answered(['{"a":1}']) == 16


@pytest.mark.parametrize(
    ("name", "arguments", "billed"),
    [
        pytest.param("ping_empty", "{}", 10, id="no arguments"),
        pytest.param(
            "inspect_manifest",
            '{"flags":{"critical":true,"retries":2},"note":"line one; line two says \\"hello\\" and path C:/rig/groq",'
            '"project":"rig-groq","steps":[{"name":"plan","weight":1},{"name":"verify","weight":2}]}',
            82,
            id="nested",
        ),
    ],
)
def test_a_call_of_llama_is_a_tag_on_groq(name: str, arguments: str, billed: int) -> None:
    calls = [{"name": name, "arguments": arguments}]
    count = count_output(model="llama-3.3-70b-versatile", provider="groq", api="openai.chat", tool_calls=calls)
    assert count.tokens == billed


def test_calls_without_arguments_cost_two_more_side_by_side() -> None:
    assert answered(["{}", "{}"]) - answered(['{"a": 1}', '{"a": 1}']) == 2 * (2 - 4)  # `{}` is 1 token, not 5


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        pytest.param("volcengine", "doubao-seed-1.6", id="Doubao"),
        pytest.param("baidu", "ernie-4.5-turbo-128k", id="ERNIE"),
        pytest.param("tencent", "hunyuan-turbos-latest", id="Hunyuan"),
    ],
)
def test_tools_are_estimated_where_nothing_is_recorded(provider: str, model: str) -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "string", "description": "What to note"}}}
    body = {"messages": HI, "tools": [tool(parameters)]}
    count = count_request(body, provider=provider, model=model, api="openai.chat")
    assert (count.tokens or 0) > counted({"messages": HI}, provider, model) + 40
    assert count.method == "stand-in"
    assert (count.high or 0) - (count.low or 0) > 0.4 * (count.tokens or 0)


@pytest.mark.parametrize(
    ("provider", "model", "choice", "calls", "billed"),
    [
        pytest.param(
            "azure-ai",
            "grok-4-1-fast-non-reasoning",
            None,
            [("weather", '{"latitude":"52.5200","longitude":"13.4050"}')],
            40,
            id="Grok on Azure writes a tag for each argument",
        ),
        pytest.param(
            "azure-ai",
            "grok-4-1-fast-non-reasoning",
            None,
            [("weather", '{"latitude":"52.5200","longitude":"13.4050"}'), ("best_language_to_learn", "{}")],
            58,
            id="and for each call",
        ),
        pytest.param(
            "openrouter",
            "deepseek/deepseek-chat-v3-0324",
            {"type": "function", "function": {"name": "plus"}},
            [("plus", '{"a":1,"b":2}')],
            11,
            id="DeepSeek V3 writes the arguments only of a function asked for",
        ),
        pytest.param(
            "openrouter",
            "deepseek/deepseek-chat-v3-0324",
            {"type": "function", "function": {"name": "return_list_of_int"}},
            [("return_list_of_int", '{"value":[1,2,3,4,5]}')],
            15,
            id="whatever they are",
        ),
        pytest.param("mistral", "pixtral-12b-latest", None, [("get_image", "{}")], 16, id="Pixtral's list of calls"),
        pytest.param(
            "aws-bedrock",
            "us.mistral.pixtral-large-2502-v1:0",
            None,
            [("get_file", "{}")],
            17,
            id="with an older vocabulary",
        ),
        pytest.param(
            "huggingface",
            "moonshotai/Kimi-K2-Instruct-0905:groq",
            None,
            [("weather", '{"location":"Florence, Italy"}')],
            21,
            id="Kimi on Groq writes spaces that the host takes out",
        ),
    ],
)
def test_calls_are_billed_as_recorded(
    provider: str, model: str, choice: Any, calls: list[tuple[str, str]], billed: int
) -> None:
    request = {"messages": HI, "tools": [{"type": "function", "function": {"name": name}} for name, _ in calls]}
    answer = [{"name": name, "arguments": arguments} for name, arguments in calls]
    count = count_output(
        model=model,
        provider=provider,
        api="openai.chat",
        tool_calls=answer,
        request=request | ({"tool_choice": choice} if choice else {}),
    )
    assert count.tokens == billed


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        pytest.param('{"query":"test data"}', 4, id="one"),
        pytest.param('{"latitude":"52.5200","longitude":"13.4050"}', 7, id="two"),
        pytest.param('{"tags":["red","blue"]}', 9, id="a list"),
        pytest.param('{"window":{"end":"2025-01-02","start":"2025-01-01"}}', 12, id="nested"),
        pytest.param("{}", 0, id="none"),
    ],
)
def test_gpt_oss_120b_writes_arguments_on_lines_of_their_own(arguments: str, more: int) -> None:
    large, small = (answered([arguments], f"openai/gpt-oss-{size}b", "groq") for size in (120, 20))
    assert large - small == more


def test_palmyra_has_a_hidden_frame() -> None:
    body = {"messages": [{"role": "user", "content": "Tell me a joke about OpenTelemetry"}]}
    assert counted(body, "writer", "palmyra-x4") == 40
