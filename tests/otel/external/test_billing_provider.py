"""Who bills for a foreign span: told by its address, its names, or the user."""

from __future__ import annotations

from typing import Any

import pytest

import tokenmeter
from tests.rigs.foreign_shapes import GENAI, USED
from tests.rigs.processor_rig import Rig
from tokenmeter.otel.external.processor import CostSpanProcessor

BILLERS = [
    pytest.param({"server.address": "api.deepseek.com", "server.port": 443}, "deepseek", "CNY", id="an address wins"),
    pytest.param({"gen_ai.openai.api_base": "https://api.deepseek.com/v1/"}, "deepseek", "CNY", id="a base URL"),
    pytest.param({"url.full": "https://api.deepseek.com/chat/completions"}, "deepseek", "CNY", id="a whole URL"),
    pytest.param({"server.address": "127.0.0.1", "server.port": 8000}, None, None, id="an unknown address"),
    pytest.param({"server.address": "llm.corp.lan"}, "deepseek", "CNY", id="an address that the user names"),
    pytest.param({"server.address": "10.0.0.7", "server.port": 8000}, "deepseek", "CNY", id="with its port"),
    pytest.param({"server.address": "proxy", "gen_ai.provider.name": "deepseek"}, "deepseek", "CNY", id="a sure name"),
    pytest.param({"server.address": "proxy", "tokenmeter.provider": "deepseek"}, "deepseek", "CNY", id="said on it"),
    pytest.param({"server.address": "::bad::["}, "openai", None, id="an address that is none"),
    pytest.param({"gen_ai.provider.name": "nobody"}, None, None, id="nobody we know"),
    pytest.param({"gen_ai.provider.name": 7}, None, None, id="a name that is none"),
]


@pytest.mark.parametrize(("more", "provider", "currency"), BILLERS)
def test_who_bills_is_told_by_the_address_first(
    more: dict[str, Any], provider: str | None, currency: str | None
) -> None:
    rig = Rig(hosts={"llm.corp.lan": "deepseek", "10.0.0.7:8000": "deepseek"})
    attributes = GENAI | USED | {"gen_ai.request.model": "deepseek-chat"} | more
    (record,), found = rig.one("opentelemetry.instrumentation.genai.openai", attributes)
    assert record.provider == provider
    assert record.cost.currency == currency
    if currency is None:
        assert found["tokenmeter.cost.status"] == "unpriced"
        assert found["tokenmeter.cost.reason"]
        assert "tokenmeter.cost" not in found, "unknown is not zero"


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("anthropic.messages", "anthropic"),
        ("google.generative-ai", "google"),
        ("google.vertex.chat", "google-vertex"),
        ("amazon-bedrock", "aws-bedrock"),
        ("az.ai.openai", "azure-openai"),
        ("gcp.gemini", "google"),
        ("mistral_ai", "mistral"),
        ("dashscope", "alibaba"),
        ("OpenAI", "openai"),
    ],
)
def test_providers_have_many_names(rig: Rig, name: str, provider: str) -> None:
    (record,), _ = rig.one("ai", {"ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": name, **USED})
    assert record.provider == provider


def test_the_user_can_say_who_bills_behind_a_name() -> None:
    rig = Rig(processor=False)
    rig.tracing.add_span_processor(CostSpanProcessor(rig.meter, providers={"OpenAI": "deepseek"}))
    (record,), _ = rig.one("openlit", GENAI | USED | {"gen_ai.request.model": "deepseek-chat"})
    assert (record.provider, record.cost.currency) == ("deepseek", "CNY")
    with pytest.raises(tokenmeter.ConfigurationError, match="no provider 'depseek'"):
        CostSpanProcessor(providers={"openai": "depseek"})
