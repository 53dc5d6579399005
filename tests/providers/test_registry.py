"""Whose host it is: every row of the host map, paths told apart, users' own hosts, and broken files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.providers.registry import _KNOWN_MOST, ProviderEndpoint, load_providers, read_providers
from tokenmeter.wire.formats import load_apis

PROVIDERS = load_providers()
CHAT = "/v1/chat/completions"


HOSTS = """
api.openai.com /v1/chat/completions openai - openai.chat
api.openai.com /v1/responses openai - openai.responses
api.openai.com /v1/embeddings openai - openai.embeddings
api.openai.com /v1/completions openai - openai.completions
api.openai.com /v1/images/edits openai - openai.images
api.openai.com /v1/audio/transcriptions openai - openai.transcriptions
eu.api.openai.com /v1/chat/completions openai eu openai.chat
jp.api.openai.com /v1/chat/completions openai jp openai.chat
me.openai.azure.com /openai/deployments/d/chat/completions azure-openai - openai.chat
me.openai.azure.com /openai/v1/responses azure-openai - openai.responses
me.cognitiveservices.azure.com /openai/v1/chat/completions azure-openai - openai.chat
me.azure-api.net /openai/deployments/d/embeddings azure-openai - openai.embeddings
me.services.ai.azure.com /models/chat/completions azure-ai-foundry - openai.chat
me.services.ai.azure.com /anthropic/v1/messages azure-ai-foundry - anthropic.messages
api.anthropic.com /v1/messages anthropic - anthropic.messages
api.anthropic.com /v1/messages/count_tokens anthropic - anthropic.count_tokens
aws-external-anthropic.us-east-1.api.aws /v1/messages anthropic us-east-1 anthropic.messages
bedrock-runtime.us-west-2.amazonaws.com /model/m/converse aws-bedrock us-west-2 bedrock.converse
bedrock-runtime.us-west-2.amazonaws.com /model/m/converse-stream aws-bedrock us-west-2 bedrock.converse
bedrock-runtime.us-west-2.amazonaws.com /model/m/invoke aws-bedrock us-west-2 bedrock.invoke
bedrock-runtime-fips.us-east-1.amazonaws.com /model/m/converse aws-bedrock us-east-1 bedrock.converse
bedrock-runtime.cn-north-1.amazonaws.com.cn /model/m/converse aws-bedrock cn-north-1 bedrock.converse
bedrock-mantle.us-east-1.api.aws /v1/responses aws-bedrock us-east-1 openai.responses
bedrock-mantle.us-east-1.api.aws /anthropic/v1/messages aws-bedrock us-east-1 anthropic.messages
generativelanguage.googleapis.com /v1beta/models/g:generateContent google - gemini.generate
generativelanguage.googleapis.com /v1beta/models/g:streamGenerateContent google - gemini.generate
generativelanguage.googleapis.com /v1beta/models/g:countTokens google - gemini.count_tokens
generativelanguage.googleapis.com /v1beta/interactions google - gemini.interactions
generativelanguage.googleapis.com /v1beta/openai/chat/completions google - openai.chat
aiplatform.googleapis.com /v1/publishers/google/models/g:generateContent google-vertex - gemini.generate
us-east5-aiplatform.googleapis.com /v/publishers/anthropic/models/c:rawPredict google-vertex us-east5 anthropic.messages
aiplatform.eu.rep.googleapis.com /v1/publishers/google/models/g:generateContent google-vertex eu gemini.generate
dashscope.aliyuncs.com /api/v1/services/aigc/text-generation/generation alibaba cn-beijing dashscope.generation
dashscope.aliyuncs.com /api/v1/services/aigc/multimodal-generation/generation alibaba cn-beijing dashscope.multimodal
dashscope.aliyuncs.com /api/v1/services/embeddings/text-embedding/text-embedding alibaba cn-beijing dashscope.embeddings
dashscope.aliyuncs.com /compatible-mode/v1/chat/completions alibaba cn-beijing openai.chat
dashscope.aliyuncs.com /compatible-api/v1/reranks alibaba cn-beijing openai.rerank
dashscope.aliyuncs.com /apps/anthropic/v1/messages alibaba cn-beijing anthropic.messages
dashscope-intl.aliyuncs.com /compatible-mode/v1/responses alibaba-intl ap-southeast-1 openai.responses
dashscope-us.aliyuncs.com /compatible-mode/v1/chat/completions alibaba-intl us-east-1 openai.chat
ws-1.cn-beijing.maas.aliyuncs.com /compatible-mode/v1/chat/completions alibaba cn-beijing openai.chat
ws-1.eu-central-1.maas.aliyuncs.com /compatible-mode/v1/chat/completions alibaba-intl eu-central-1 openai.chat
api.deepseek.com /chat/completions deepseek - openai.chat
api.deepseek.com /beta/completions deepseek - openai.completions
api.deepseek.com /anthropic/v1/messages deepseek - anthropic.messages
ark.cn-beijing.volces.com /api/v3/chat/completions volcengine cn-beijing openai.chat
ark.cn-beijing.volces.com /api/v3/bots/chat/completions volcengine cn-beijing openai.chat
ark.cn-beijing.volces.com /api/v3/images/generations volcengine cn-beijing volcengine.images
ark.cn-beijing.volces.com /api/v3/embeddings/multimodal volcengine cn-beijing openai.embeddings
ark.ap-southeast.bytepluses.com /api/v3/chat/completions byteplus ap-southeast openai.chat
qianfan.baidubce.com /v2/chat/completions baidu - openai.chat
aip.baidubce.com /rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro baidu - baidu.wenxin
api.hunyuan.cloud.tencent.com /v1/chat/completions tencent - openai.chat
hunyuan.tencentcloudapi.com / tencent - tencent.chat
tokenhub.tencentmaas.com /v1/chat/completions tencent - openai.chat
tokenhub-intl.tencentmaas.com /v1/chat/completions tencent-intl - openai.chat
tokenhub-intl.tencentcloudmaas.com /v1/chat/completions tencent-intl - openai.chat
open.bigmodel.cn /api/paas/v4/chat/completions zhipu - openai.chat
open.bigmodel.cn /api/anthropic/v1/messages zhipu - anthropic.messages
api.z.ai /api/coding/paas/v4/chat/completions zai - openai.chat
api.moonshot.cn /v1/chat/completions moonshot - openai.chat
api.moonshot.ai /anthropic/v1/messages moonshot-intl - anthropic.messages
api.minimax.chat /v1/text/chatcompletion_v2 minimax - openai.chat
api.minimaxi.com /v1/chat/completions minimax - openai.chat
api.minimax.io /anthropic/v1/messages minimax-intl - anthropic.messages
api.minimax.io /v1/t2a_v2 minimax-intl - minimax.speech
api.baichuan-ai.com /v1/chat/completions baichuan - openai.chat
api.lingyiwanwu.com /v1/chat/completions 01ai - openai.chat
spark-api-open.xf-yun.com /v1/chat/completions iflytek - openai.chat
api.stepfun.com /v1/chat/completions stepfun - openai.chat
api.stepfun.ai /v1/chat/completions stepfun-intl - openai.chat
api.siliconflow.cn /v1/chat/completions siliconflow - openai.chat
api.siliconflow.com /v1/chat/completions siliconflow-intl - openai.chat
api-inference.modelscope.cn /v1/chat/completions modelscope - openai.chat
openrouter.ai /api/v1/chat/completions openrouter - openai.chat
api.groq.com /openai/v1/chat/completions groq - openai.chat
api.x.ai /v1/chat/completions xai - openai.chat
eu-west-1.api.x.ai /v1/chat/completions xai eu openai.chat
api.together.xyz /v1/chat/completions together - openai.chat
api.together.ai /v1/chat/completions together - openai.chat
api.deepinfra.com /v1/openai/chat/completions deepinfra - openai.chat
api.novita.ai /v3/openai/chat/completions novita - openai.chat
api.tokenfactory.nebius.com /v1/chat/completions nebius - openai.chat
api.sambanova.ai /v1/chat/completions sambanova - openai.chat
inference.baseten.co /v1/chat/completions baseten - openai.chat
api.fireworks.ai /inference/v1/chat/completions fireworks - openai.chat
api.mistral.ai /v1/chat/completions mistral - openai.chat
api.mistral.ai /v1/fim/completions mistral - openai.chat
api.eu.mistral.ai /v1/chat/completions mistral eu openai.chat
api.cohere.com /v2/chat cohere - cohere.chat.v2
api.cohere.ai /v1/chat cohere - cohere.chat
api.cohere.com /v2/embed cohere - cohere.embeddings
api.cohere.com /v2/rerank cohere - openai.rerank
api.perplexity.ai /chat/completions perplexity - openai.chat
api.cerebras.ai /v1/chat/completions cerebras - openai.chat
router.huggingface.co /together/v1/chat/completions huggingface - openai.chat
localhost:11434 /api/chat ollama - ollama.chat
127.0.0.1:11434 /v1/chat/completions ollama - openai.chat
localhost:11434 /api/embed ollama - ollama.embeddings
"""
"""host, path, provider, region or -, api"""


@pytest.mark.parametrize("row", HOSTS.split("\n")[1:-1])
def test_a_host_and_path_say_who_and_what(row: str) -> None:
    host, path, provider, region, api = row.split()
    endpoint = PROVIDERS.for_host(host, path)
    assert endpoint is not None
    assert (endpoint.provider_id, endpoint.region or "-", endpoint.api) == (provider, region, api)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models",
        "/v1/files",
        "/v1/threads/t/messages",
        "/v1/batches",
        "/v1/chat/completions/x",
        "/v1/responses/r/cancel",
        "",
        "/",
    ],
)
def test_a_known_host_with_another_path_is_no_call(path: str) -> None:
    endpoint = PROVIDERS.for_host("api.openai.com", path)
    assert endpoint is not None
    assert endpoint.api is None


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "api.openai.com.evil.org",
        "notapi.openai.com",
        "openai.azure.com",
        "localhost",
        "localhost:8000",
        "",
        "x" * 3000,
    ],
)
def test_a_host_nobody_declared_is_unknown(host: str) -> None:
    assert PROVIDERS.for_host(host, CHAT) is None


def test_ports_case_and_a_final_dot_do_not_hide_a_host() -> None:
    expected = PROVIDERS.for_host("api.openai.com", CHAT)
    for host in ("api.openai.com:443", "API.OpenAI.com", "api.openai.com."):
        assert PROVIDERS.for_host(host, CHAT) == expected


def test_the_memory_of_hosts_and_paths_is_bounded() -> None:
    providers = PROVIDERS.with_hosts({})
    for number in range(_KNOWN_MOST + 50):
        providers.for_host(f"h{number}.example.com", CHAT)
        providers.for_host("api.openai.com", f"/v1/chat/{number}")
    assert len(providers._seen) <= _KNOWN_MOST
    known = providers._seen.get("api.openai.com")
    assert known is not None
    assert len(known.paths) <= _KNOWN_MOST


def test_users_name_their_own_hosts() -> None:
    providers = PROVIDERS.with_hosts({"llm.corp.lan": "deepseek", "*.gw.corp.lan": "dashscope", "LAN:8080": "openai"})
    assert providers.for_host("llm.corp.lan", CHAT) == ProviderEndpoint("deepseek", None, "openai.chat", None, "always")
    assert providers.for_host("a.b.gw.corp.lan", CHAT) == ProviderEndpoint("alibaba", None, "openai.chat", None, "ask")
    assert providers.for_host("lan:8080", CHAT) == ProviderEndpoint("openai", None, "openai.chat", None, "ask")
    assert PROVIDERS.for_host("llm.corp.lan", CHAT) is None
    more = providers.with_hosts({"api.openai.com": "openrouter"})
    assert more.for_host("api.openai.com", CHAT) is not None
    assert more.for_host("api.openai.com", CHAT).provider_id == "openrouter"  # type: ignore[union-attr]
    assert more.for_host("llm.corp.lan", CHAT) is not None


def test_a_host_for_no_provider_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"'llm\.corp\.lan': there is no provider 'deepsek'"):
        PROVIDERS.with_hosts({"llm.corp.lan": "deepsek"})


@pytest.mark.parametrize("host", ["https://llm.corp.lan/v1", "llm.corp.lan/v1", "a:1:1", "a b", "", "[::1", "a:x"])
def test_what_is_no_host_says_how_to_write_one(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a host: write it as 'llm\.corp\.lan'"):
        PROVIDERS.with_hosts({host: "deepseek"})


@pytest.mark.parametrize("host", ["[::1]:8000", "[::1]", "::1"])
def test_an_address_of_version_six_may_be_named(host: str) -> None:
    asked = "::1:8000" if host.endswith("8000") else "::1"  # as HTTP libraries name hosts: without brackets
    assert PROVIDERS.with_hosts({host: "deepseek"}).for_host(asked, CHAT) is not None


NAMES = """
alibaba alibaba | dashscope alibaba | bedrock aws-bedrock | volcengine-ark volcengine | qianfan baidu | zhipuai zhipu
moonshot_ai moonshot | x_ai xai | hunyuan tencent | spark iflytek | yi 01ai | azure azure-openai | gcp.gemini google
vertex_ai google-vertex | azure.ai.openai azure-openai | aws.bedrock aws-bedrock | mistral_ai mistral | kimi moonshot
byteplus-ark byteplus | gcp.vertex_ai google-vertex | OpenAI openai
"""


@pytest.mark.parametrize("pair", [pair for line in NAMES.split("\n")[1:-1] for pair in line.split(" | ")])
def test_providers_are_found_by_their_names(pair: str) -> None:
    name, provider = pair.split()
    found = PROVIDERS.get(name)
    assert found is not None
    assert found.id == provider


def test_a_provider_nobody_knows_is_none() -> None:
    assert PROVIDERS.get("nobody") is None
    assert PROVIDERS.get(None) is None


@pytest.mark.parametrize(
    ("name", "region", "provider"),
    [
        ("alibaba", "ap-southeast-1", "alibaba-intl"), ("alibaba-intl", "cn-beijing", "alibaba"),
        ("alibaba", "cn-beijing", "alibaba"), ("alibaba", None, "alibaba"), ("volcengine", "ap-southeast", "byteplus"),
        ("openai", "eu", "openai"),
    ],
)  # fmt: skip
def test_a_region_of_another_site_is_that_sites(name: str, region: str | None, provider: str) -> None:
    found = PROVIDERS.resolve(name, region)
    assert found is not None
    assert found.id == provider


POLICIES = """
api.openai.com /v1/chat/completions ask
dashscope.aliyuncs.com /compatible-mode/v1/chat/completions ask
ark.cn-beijing.volces.com /api/v3/chat/completions ask
qianfan.baidubce.com /v2/chat/completions ask
api.mistral.ai /v1/chat/completions refuse
api.deepseek.com /chat/completions always
open.bigmodel.cn /api/paas/v4/chat/completions always
openrouter.ai /api/v1/chat/completions always
api.x.ai /v1/chat/completions always
me.openai.azure.com /openai/deployments/d/chat/completions?api-version=2023-05-15 refuse
me.openai.azure.com /openai/deployments/d/chat/completions?api-version=2024-10-21 ask
tokenhub.tencentmaas.com /v1/chat/completions ask
api.hunyuan.cloud.tencent.com /v1/chat/completions unknown
"""


@pytest.mark.parametrize("row", POLICIES.split("\n")[1:-1])
def test_how_a_stream_comes_to_its_usage(row: str) -> None:
    host, path, policy = row.split()
    endpoint = PROVIDERS.for_host(host, path)
    assert endpoint is not None
    assert endpoint.stream_usage == policy


def test_every_provider_is_whole() -> None:
    from zoneinfo import ZoneInfo

    for provider in PROVIDERS.by_id.values():
        assert ZoneInfo(provider.timezone)
        assert provider.at in ("end", "start")
        assert all(api in load_apis().by_id for api in provider.apis), provider.id


# What CONTRIBUTING asks for to add an OpenAI-compatible vendor: this file and nothing else.
NEW_VENDOR = """\
id = "newvendor"
name = "New Vendor"
aliases = ["nv"]
timezone = "Asia/Shanghai"
stream_usage = "ask"

[[endpoint]]
host = "api.newvendor.cn"
currency = "CNY"
"""


def test_a_vendor_is_added_by_one_file(tmp_path: Path) -> None:
    (tmp_path / "newvendor.toml").write_text(NEW_VENDOR, encoding="utf-8")
    providers = read_providers(tmp_path)
    assert providers.for_host("api.newvendor.cn", CHAT) == ProviderEndpoint(
        "newvendor", None, "openai.chat", "CNY", "ask"
    )
    assert providers.get("nv") is providers.get("newvendor")


@pytest.mark.parametrize(
    ("path", "model"),
    [
        pytest.param("/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro", "ERNIE-4.0-8K", id="by its own name"),
        pytest.param("/x/wenxinworkshop/chat/ernie-speed-128k?access_token=t", "ernie-speed-128k", id="by the model's"),
        pytest.param("/wenxinworkshop/embeddings/tao_8k/", "tao-8k", id="embeddings"),
        pytest.param("/v2/chat/completions", None, id="the body says it"),
    ],
)
def test_a_path_may_name_the_model(path: str, model: str | None) -> None:
    baidu = PROVIDERS.get("baidu")
    assert baidu is not None
    assert baidu.model_at(path) == model


def test_a_model_in_a_path_that_cannot_be_found_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "newvendor.toml").write_text(NEW_VENDOR + '[models]\n"/chat/plain" = "*"\n', encoding="utf-8")
    with pytest.raises(CatalogError, match=r'models: "/chat/plain"'):
        read_providers(tmp_path)


def test_all_problems_of_all_files_are_shown_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('id = "a"\ntimezon = "UTC"\nstream_usage = "ask"\n', encoding="utf-8")
    (tmp_path / "b.toml").write_text(
        'id = "b"\ntimezone = "UTC"\nstream_usage = "sometimes"\naliases = ["x"]\napis = ["openai.chatt"]\n'
        'sites = { "eu" = "nowhere" }\n[[endpoint]]\nhost = "https://B.example"\n'
        '[usage."openai.chat".counts]\nprompts = "input_tokenz"\n',
        encoding="utf-8",
    )
    (tmp_path / "c.toml").write_text(
        'id = "c"\ntimezone = "UTC"\nstream_usage = "ask"\naliases = ["x"]\n', encoding="utf-8"
    )
    (tmp_path / "d.toml").write_text("id = ", encoding="utf-8")
    with pytest.raises(CatalogError) as raised:
        read_providers(tmp_path)
    shown = str(raised.value)
    for problem in (
        'a.toml: "timezon" is not a key here (did you mean "timezone"?)',
        'a.toml: "timezone" is missing',
        'b.toml: "stream_usage" is one of ask, always, refuse, unknown',
        "b.toml: there is no api 'openai.chatt'",
        "b.toml: endpoint 1: \"host\" 'https://B.example' is a lower-case host without scheme and path",
        "counts: \"prompts\": 'input_tokenz' is not a component",
        "c.toml: the name 'x' is taken by",
        "d.toml: not TOML",
        "there is no provider 'nowhere'",
    ):
        assert problem in shown
