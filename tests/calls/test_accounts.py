"""The accounts of calls: equal for equal credentials, never a credential, and names of the user first."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests

from tests.rigs.ledger_rows import rows
from tests.rigs.local_provider import own_meter, running, server
from tokenmeter.calls.accounts import Accounts
from tokenmeter.testing import ProviderServer, capture
from tokenmeter.usage import Usage

__all__ = ["running", "server"]

KEY = "sk-0123456789abcdef0123456789abcdef"
OTHER = "sk-fedcba9876543210fedcba9876543210"
SIGNED = "AWS4-HMAC-SHA256 Credential={}/20261130/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature={}"


def token(**claims: Any) -> str:
    parts = (urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in ({"alg": "HS256"}, claims))
    return ".".join([*parts, "c2lnbmVk"])


def seen(value: str, name: str = "Authorization", accounts: Accounts | None = None) -> str | None:
    found = {
        (accounts or Accounts()).seen(headers)
        for headers in (
            httpx.Headers({"host": "x", "accept": "*/*", name: value}),
            {"Accept": "*/*", name: value},
            [("accept", "*/*"), (name, value)],
            {name.lower().encode(): value.encode()},
        )
    }
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"Bearer {KEY}", f"bearer  {KEY}"),
        (f"Bearer {KEY}", KEY),
        (SIGNED.format("AKIAIOSFODNN7EXAMPLE", "1a"), SIGNED.format("AKIAIOSFODNN7EXAMPLE", "2b")),
        (
            f"Bearer {token(api_key='0123456789abcdef01', exp=1)}",
            f"Bearer {token(api_key='0123456789abcdef01', exp=2)}",
        ),
    ],
    ids=["a scheme in other letters", "another header's form", "two signatures", "two tokens of a key"],
)
def test_one_credential_is_one_account(one: str, other: str) -> None:
    account = seen(one)
    assert account
    assert account == seen(other) == seen(other, "x-api-key") == seen(one, "API-Key") == seen(one, "X-Goog-Api-Key")
    assert account != seen(f"Bearer {OTHER}")


@pytest.mark.parametrize(
    "value",
    [
        "Bearer EMPTY", "Bearer sk-1234", "", "Bearer", "Basic dXNlcjpwYXNzd29yZC1vZi1zb21lYm9keQ==",
        "Bearer ya29.a0AfH6SMBxxxxxxxxxxxxxxxxxxxx", SIGNED.format("ASIAIOSFODNN7EXAMPLE", "1a"),
        f"Bearer {token(exp=1)}", "Bearer eyJhbGciOiJub25lIn0.bm90IGpzb24.x", f"Bearer {token(sub='short')}",
        "Bearer eyJhbGciOiJub25lIn0.WzFd.x",
    ],
)  # fmt: skip
def test_what_can_be_guessed_or_passes_is_no_account(value: str) -> None:
    assert seen(value) is None


def test_headers_without_a_credential_tell_no_account() -> None:
    accounts = Accounts()
    for headers in (None, {}, [], httpx.Headers(), httpx.Headers({"accept": "*/*"}), {"accept": "*/*"}):
        assert accounts.seen(headers) is None


def test_the_place_of_the_header_is_found_again_where_it_moved() -> None:
    accounts = Accounts()
    first = accounts.seen(httpx.Headers([("a", "1"), ("authorization", KEY), ("b", "2")]))
    assert first == accounts.seen(httpx.Headers([("authorization", KEY), ("a", "1"), ("b", "2")]))
    assert accounts.seen(httpx.Headers([("a", "1"), ("b", "2"), ("c", OTHER)])) is None
    assert accounts.seen(httpx.Headers([("a", "1"), ("b", "2"), ("x-api-key", OTHER)])) == seen(OTHER)


def test_no_credential_is_kept() -> None:
    accounts = Accounts(key="a secret of ours")
    for value in (f"Bearer {KEY}", SIGNED.format("AKIAIOSFODNN7EXAMPLE", "1a"), "Bearer EMPTY"):
        account = seen(value, accounts=accounts)
        assert account is None or len(account) == len("key-") + 12
    assert all(type(one) is int for one in accounts.known)
    assert KEY[3:] not in repr(vars(accounts))


def test_a_secret_makes_other_hashes() -> None:
    hashes = {seen(KEY, accounts=Accounts(key=key)) for key in (None, "first secret", "second secret")}
    assert len(hashes) == 3
    assert Accounts().hash_of(KEY) == seen(KEY)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, seen(KEY)),
        ({"*": "all"}, "all"),
        ({"deepseek": "vendor", "*": "all"}, "vendor"),
        ({"openai": "vendor"}, seen(KEY)),
        ({str(seen(KEY)): "one key", "deepseek": "vendor"}, "one key"),
    ],
)
def test_names_of_the_user_come_first(names: Mapping[str, str], expected: str) -> None:
    accounts = Accounts(names)
    assert accounts.named(accounts.seen({"authorization": KEY}), "deepseek") == expected
    assert accounts.looks is (names != {"*": "all"})


BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
BEARER = {"authorization": f"Bearer {KEY}"}


def _openai(server: ProviderServer) -> None:
    client = openai.OpenAI(base_url=server.url(), api_key=KEY)
    client.chat.completions.create(**BODY)  # type: ignore[call-overload]
    for _ in client.chat.completions.create(**BODY, stream=True):  # type: ignore[call-overload]
        pass


def _openai_async(server: ProviderServer) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=server.url(), api_key=KEY) as client:
            await client.chat.completions.create(**BODY)  # type: ignore[call-overload]

    asyncio.run(ask())


def _httpx(server: ProviderServer) -> None:
    httpx.post(f"{server.url()}/chat/completions", json=BODY, headers=BEARER)


def _requests(server: ProviderServer) -> None:
    requests.post(f"{server.url()}/chat/completions", json=BODY, headers={"api-key": KEY}, timeout=9)


def _urllib(server: ProviderServer) -> None:
    headers = {**BEARER, "content-type": "application/json"}
    sent = urllib.request.Request(f"{server.url()}/chat/completions", json.dumps(BODY).encode(), headers)
    urllib.request.urlopen(sent).read()


def _aiohttp(server: ProviderServer) -> None:
    async def ask() -> None:
        async with (
            aiohttp.ClientSession(headers=BEARER) as session,
            session.post(f"{server.url()}/chat/completions", json=BODY) as answer,
        ):
            await answer.read()

    asyncio.run(ask())


def _boto3(server: ProviderServer) -> None:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "bedrock-runtime", endpoint_url=server.url("bedrock"), region_name="us-east-1", aws_access_key_id=KEY,
        aws_secret_access_key="any",
    )  # fmt: skip
    client.converse(
        modelId="anthropic.claude-3-5-sonnet-20241022-v2:0", messages=[{"role": "user", "content": [{"text": "hi"}]}]
    )


@pytest.mark.parametrize("send", [_openai, _openai_async, _httpx, _requests, _urllib, _aiohttp, _boto3])
def test_every_way_of_sending_tells_the_account(
    server: ProviderServer, tmp_path: Path, send: Callable[[ProviderServer], None]
) -> None:
    with own_meter(hosts={server.host: "openai"}, ledger=str(tmp_path / "spend.db")) as meter:
        meter.instrument()
        with capture(meter) as records:
            send(server)
            send(server)
            meter.flush()
        assert {record.account for record in records} == {seen(KEY)}
        assert len(records) in (2, 4)
    assert {row["account"] for row in rows(tmp_path / "spend.db")} == {seen(KEY)}
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()


def test_calls_by_hand_have_the_name_that_was_set(tmp_path: Path) -> None:
    with own_meter(account={"deepseek": "org-a"}) as meter, capture(meter) as records:
        for provider in ("deepseek", "openai"):
            with meter.call(provider=provider, model="m") as call:
                call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    assert [record.account for record in records] == ["org-a", None]


def test_two_keys_of_one_client_are_two_accounts(server: ProviderServer) -> None:
    with own_meter(hosts={server.host: "openai"}, account_key="a secret of ours") as meter, capture(meter) as records:
        client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key=KEY))
        for _ in range(3):
            client.chat.completions.create(**BODY)  # type: ignore[call-overload]
            client.with_options(api_key=OTHER).chat.completions.create(**BODY)  # type: ignore[call-overload]
        meter.flush()
    hashed = Accounts(key="a secret of ours").hash_of
    assert [record.account for record in records] == [hashed(KEY), hashed(OTHER)] * 3


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, 0),
        ({"tools": []}, 0),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}, None),
    ],
)
def test_a_request_without_tools_has_no_tokens_of_them(
    server: ProviderServer, asked: dict[str, Any], expected: int | None
) -> None:
    with own_meter(hosts={server.host: "openai"}) as meter, capture(meter) as records:
        client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key=KEY))
        for _ in range(3):
            client.chat.completions.create(**BODY, **asked)  # type: ignore[call-overload]
        meter.flush()
    assert [record.tool_definition_tokens for record in records] == [expected] * 3
