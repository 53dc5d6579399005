"""Which adapters a process loads: those of SDKs and HTTP libraries that it has, and for one client its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from tokenmeter.clients import ADAPTERS, SDKS

LOADED = """
import json, sys
from tokenmeter.clients import ADAPTERS
loaded = [name for name in ADAPTERS if "tokenmeter.clients." + name in sys.modules]
print(json.dumps({"adapters": loaded, "modules": sorted(sys.modules)}))
"""


def run(program: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", program + LOADED], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def expected(found: dict[str, Any], *beside: str) -> set[str]:
    """The HTTP adapters whose libraries the process has, and these."""
    there = set(found["modules"])
    http = {
        sdk.adapter
        for root, sdk in SDKS.items()
        if sdk.adapter.startswith("transport.") and there & set(sdk.hooked_modules(root))
    }
    return {*http, *beside}


def test_wrapping_an_openai_client_loads_its_adapter_and_that_of_the_http_library_it_sends_by() -> None:
    pytest.importorskip("openai")
    found = run("import http.client, openai, tokenmeter; tokenmeter.wrap(openai.OpenAI(api_key='x'))")
    assert set(found["adapters"]) == {"stainless", "transport.httpx"}
    assert {"tokenmeter.clients.boto3", "tokenmeter.clients.google_genai", "boto3"}.isdisjoint(found["modules"])


UNNEEDED = (
    # What a program has not asked for yet, though it may: prices wait for the first call, the rest for its use.
    "asked_prices", "budgets", "calls.batch_results", "calls.by_hand", "calls.later_answers", "calls.scope",
    "calls.stream_response", "charge", "clients.support.batches", "estimates", "exchange", "ledger", "otel.dialects",
    "otel.external.span_data", "prices", "token_count", "tokens", "wire.batch_lines", "wire.stream_reader",
    "wire.telling_words",
)  # fmt: skip
CALL = """
import importlib, openai, openai._base_client as base, tokenmeter
http = importlib.import_module("httpx2" if hasattr(base, "httpx2") else "httpx")
answer = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
transport = http.MockTransport(lambda request: http.Response(200, json=answer))
client = openai.OpenAI(api_key="x", http_client=http.Client(transport=transport))
records = []
class Sink:
    write = staticmethod(records.append)
    flush = close = staticmethod(lambda timeout: True)
meter = tokenmeter.Tokenmeter(sinks=[Sink()])
meter.wrap(client)
"""


def of_ours(found: dict[str, Any]) -> set[str]:
    return {name.removeprefix("tokenmeter.") for name in found["modules"] if name.startswith("tokenmeter.")}


def test_wrapping_a_client_loads_nothing_that_its_calls_may_never_need() -> None:
    pytest.importorskip("openai")
    there = of_ours(run(CALL))
    assert sorted(there & set(UNNEEDED)) == []
    assert "difflib" not in run("import tokenmeter; tokenmeter.default()")["modules"]


def test_the_first_answer_loads_prices_and_nothing_for_streams_counts_or_scopes() -> None:
    pytest.importorskip("openai")
    call = "client.chat.completions.create(model='gpt-4o', messages=[])\n"
    there = of_ours(run(f"{CALL}{call}assert records[0].cost.total is not None\n"))
    assert "prices.book" in there
    assert sorted(there & set(UNNEEDED)) == ["prices"]


def test_no_class_that_a_call_needs_is_made_by_generated_code() -> None:
    """A frozen dataclass takes 0.4 to 2 ms to define: `late_dataclass` waits, `Value` is for what is not public."""
    pytest.importorskip("openai")
    check = """
generated = {
    f"{owner.__qualname__}.{name}"
    for module in list(sys.modules.values()) if (getattr(module, "__name__", None) or "").startswith("tokenmeter")
    for owner in vars(module).values()
    if isinstance(owner, type) and owner.__module__ == module.__name__ and "__dataclass_fields__" in vars(owner)
    for name, method in vars(owner).items()
    if getattr(getattr(method, "__code__", None), "co_filename", "") == "<string>"
}
assert generated == set(), generated
"""
    call = "client.chat.completions.create(model='gpt-4o', messages=[])"
    run(f"{CALL}import sys\n{call}\nassert records[0].cost.amount is not None{check}")


def test_wrapping_an_http_client_loads_no_adapter_of_an_sdk() -> None:
    requests = pytest.importorskip("requests")
    found = run(f"import {requests.__name__}, tokenmeter; tokenmeter.wrap(requests.Session())")
    assert "transport.requests" in found["adapters"]
    assert set(found["adapters"]) == expected(found)


def test_instrument_loads_no_adapter_before_its_sdk() -> None:
    found = run("import tokenmeter; tokenmeter.instrument()")
    assert set(found["adapters"]) == expected(found)
    assert set(SDKS) & set(found["modules"]) <= {"http.client"}


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("root", sorted(root for root, sdk in SDKS.items() if sdk.hooked and sdk.distribution))
def test_instrument_hooks_an_sdk_that_is_there_or_comes(root: str, order: str) -> None:
    """The hooks are in the SDK's classes either way, and its adapter is the only one of an SDK that is loaded."""
    if importlib.util.find_spec(root.partition(".")[0]) is None:
        pytest.skip(f"needs {root}")
    sdk = SDKS[root]
    if not any(map(_is_there, sdk.hooked_modules(root))):
        pytest.skip(f"needs {root}")
    modules = [module for module in (root, sdk.loads) if module]
    lines = [f"import {module}" for module in modules]
    lines.insert(0 if order == "before" else len(lines), "import tokenmeter; tokenmeter.instrument()")
    check = f"""
from tokenmeter.clients.support.hooks import is_unknown, patched
assert not is_unknown({root!r}), "hooks were put into a module that was half imported"
assert patched({root.partition(".")[0]!r}), "no hook is in place"
"""
    found = run("\n".join([*lines, check]))
    others = {name for name in ADAPTERS if not name.startswith("transport.")} - {sdk.adapter}
    loaded = {
        other.adapter for name, other in SDKS.items() if set(other.hooked_modules(name)) & set(found["modules"])
    }  # an SDK may import another
    assert sdk.adapter in found["adapters"]
    assert others & set(found["adapters"]) <= loaded


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_table_has_each_module_that_an_adapter_hooks(adapter: str) -> None:
    """A module that is missing there would be imported without its adapter being loaded, and its calls missed."""
    program = f"""
import importlib
from tokenmeter.clients.support import hooks
waited = []
hooks.on_import = lambda module, hook: waited.append(module)
importlib.import_module("tokenmeter.clients.{adapter}").install()
import sys
sys.modules["waited " + " ".join(waited)] = None
"""
    (waited,) = [name.split()[1:] for name in run(program)["modules"] if name.startswith("waited ")]
    known = {module for root, sdk in SDKS.items() if sdk.adapter == adapter for module in sdk.hooked_modules(root)}
    # These two come after `openai._base_client`, which loads the adapter.
    assert set(waited) - {"openai._legacy_response", "litellm.llms.openai.openai"} == known
