"""Where calls to an address go: the host map, the mark on a client and the path, in that order, remembered."""

from __future__ import annotations

import dataclasses

import pytest

from tokenmeter import ConfigurationError, Tokenmeter
from tokenmeter.calls.route import Route


@dataclasses.dataclass(frozen=True)
class Marked:
    """What routing reads of a wrapped client's mark."""

    provider: str | None
    region: str | None = None


def route(host: str, path: str, mark: Marked | None = None, *, any_host: bool = False, **settings: str) -> Route | None:
    meter = Tokenmeter(spans="none", hosts=settings)
    return meter.route(host, 443, "", path, mark, any_host=any_host)


@pytest.mark.parametrize(
    ("host", "path", "mark", "expected"),
    [
        pytest.param("api.deepseek.com", "/chat/completions", None, ("deepseek", "openai.chat"), id="by its host"),
        pytest.param(
            "api.deepseek.com", "/chat/completions", Marked("openai"), ("openai", "openai.chat"), id="a mark wins"
        ),
        pytest.param("10.0.0.7", "/v1/chat/completions", Marked("zhipu"), ("zhipu", "openai.chat"), id="by its mark"),
        pytest.param("10.0.0.7", "/v1/chat/completions", None, None, id="nobody is known there"),
        pytest.param("api.deepseek.com", "/models", None, None, id="no call to a model"),
        pytest.param("api.anthropic.com", "/v1/messages/count_tokens", None, None, id="what nobody bills"),
        pytest.param("api.anthropic.com", "/v1/messages", None, ("anthropic", "anthropic.messages"), id="billed"),
    ],
)
def test_who_answers_at_an_address(host: str, path: str, mark: Marked | None, expected: tuple[str, str] | None) -> None:
    found = route(host, path, mark)
    assert (found and (found.provider, found.api)) == expected


def test_at_any_host_the_path_alone_decides_and_no_provider_is_assumed() -> None:
    found = route("10.0.0.7", "/v1/chat/completions", any_host=True)
    assert found is not None
    assert (found.provider, found.api, found.operation) == (None, "openai.chat", "chat")


def test_a_host_of_the_users_own_is_the_provider_they_named() -> None:
    found = route("llm.corp.lan", "/v1/chat/completions", **{"llm.corp.lan": "deepseek"})
    assert found is not None
    assert found.provider == "deepseek"


def test_a_region_of_the_mark_chooses_the_site() -> None:
    home = route("10.0.0.7", "/compatible-mode/v1/chat/completions", Marked("alibaba"))
    abroad = route("10.0.0.7", "/compatible-mode/v1/chat/completions", Marked("alibaba", "ap-southeast-1"))
    assert home is not None
    assert abroad is not None
    assert (home.provider, abroad.provider) == ("alibaba", "alibaba-intl")


def test_a_route_is_made_once() -> None:
    meter = Tokenmeter(spans="none")
    first, again = (
        meter.route("api.deepseek.com", 443, "", "/chat/completions", None, any_host=False) for _ in range(2)
    )
    assert first is not None
    assert first is again


def test_a_host_of_an_unknown_provider_is_refused_when_it_is_configured() -> None:
    with pytest.raises(ConfigurationError, match="no-such-vendor"):
        Tokenmeter(hosts={"llm.corp.lan": "no-such-vendor"})
