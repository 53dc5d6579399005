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


def test_wrapping_an_openai_client_loads_its_adapter_and_those_of_the_http_libraries_there() -> None:
    pytest.importorskip("openai")
    found = run("import openai, tokenmeter; tokenmeter.wrap(openai.OpenAI(api_key='x'))")
    assert set(found["adapters"]) == expected(found, "stainless")
    assert {"tokenmeter.clients.boto3", "tokenmeter.clients.google_genai", "boto3"}.isdisjoint(found["modules"])


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
