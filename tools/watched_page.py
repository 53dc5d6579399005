"""Write docs/watched.md: what is watched, from the wire formats and the tables of clients, and what is not.

python tools/watched_page.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.data_files import read_data
from tokenmeter.clients.table import SDKS, Stainless, WireOnly
from tokenmeter.clients.unwatched import UNWATCHED
from tokenmeter.providers.registry import load_providers
from tokenmeter.wire.formats import load_apis

TARGET: Final = Path(__file__).parents[1] / "docs" / "watched.md"
HEAD: Final = """# What is watched

`instrument()` and `wrap()` see the requests below, whichever SDK sends them; `make docs` writes this page from the
tables that the hooks read. `tokenmeter doctor --verbose` prints what is billed and not watched.
"""
LATER: Final = """
## Answers that come later

A call whose answer only announces another stays open until a poll returns the finished answer under its id: by the
same client or another one, by SDK or plain HTTP, resumed as a stream or not. Its record is made then, once. If the
answer is never seen in this process, the call is recorded at the end of the program as dropped, with unknown usage.
At most 1,000 calls wait; the oldest is dropped for one more. What another process began is not counted.

| answer | announced by a POST to | asked for by |
|---|---|---|
"""
BATCHES: Final = """
## Batches

Each line of a batch's results that the program downloads becomes a record at the batch price. Where the lines are not
read and the object of the finished batch states its usage, the whole batch is one record, written at the end of the
program. A batch counts once in a process.

"""
SDK: Final = """
## SDKs

| SDK | what is hooked | a host that is not in the map |
|---|---|---|
"""
NOT: Final = """
## Billed and not watched

| vendor | what | why | instead |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return "".join((HEAD, *_paths(), LATER, *_later(), BATCHES, *_batches(), SDK, *_sdks(), NOT, *_unwatched()))


def _paths() -> Iterator[str]:
    yield "\n## Paths\n\n| wire format | ends of the request's path, by POST |\n|---|---|\n"
    for api in load_apis().by_id.values():
        if api.paths and api.operation != "count_tokens":
            yield f"| {api.id} | {_codes(api.paths)} |\n"
    yield "\nBeside these, a provider's own paths:\n\n| provider | paths |\n|---|---|\n"
    for provider in load_providers().by_id.values():
        own = dict.fromkeys((*provider.paths, *(path for host in provider.endpoints for path in host.paths)))
        if own:
            yield f"| {provider.id} | {_codes(tuple(own))} |\n"


def _later() -> Iterator[str]:
    for entry in read_data("later")["answer"]:
        only = f" ({', '.join(entry['providers'])})" if "providers" in entry else ""
        asked = f" with `{entry['asked']}`" if "asked" in entry else ""
        yield f"| {entry['name']}{only} | {_codes(entry['posts'])}{asked} | {_codes(entry['polls'])} |\n"


def _batches() -> Iterator[str]:
    batch: dict[str, Any] = read_data("later")["batch"]
    yield f"-   objects: {_codes(batch['objects'])}\n"
    yield f"-   results: {_codes(batch['results'])}\n"
    yield f"-   paths that are answered at once, at the batch price: {_codes(batch['price'])}\n"


def _sdks() -> Iterator[str]:
    for package, sdk in SDKS.items():
        if isinstance(sdk.shape, Stainless):
            what, unknown = "every request of the client", "metered; unpriced until `hosts` names the provider"
        elif isinstance(sdk.shape, WireOnly):
            what = _codes(tuple(dict.fromkeys(f"{method.owner}.{method.name}" for method in sdk.shape.methods)))
            unknown = "metered; unpriced until `hosts` names the provider"
        elif sdk.adapter.startswith("transport."):
            what, unknown = "every request", "not watched, unless `wrap` or `hosts` names the provider"
        else:
            what, unknown = f"see `clients/{sdk.adapter}.py`", "metered; unpriced until `hosts` names the provider"
        yield f"| {package} | {what} | {unknown} |\n"


def _unwatched() -> Iterator[str]:
    for row in UNWATCHED:
        yield f"| {row.vendor} | {row.what} | {row.why} | {row.instead} |\n"


def _codes(items: Any) -> str:
    return ", ".join(f"`{item.removeprefix('=')}`" for item in items if item)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
