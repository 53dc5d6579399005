"""Replay recorded traffic through the real OpenAI SDK, metered and bare, and compare everything that can be seen.

    python benchmarks/replay.py ../shared/truth/cases.jsonl.gz [--sample 200] [--show 5]

Each case's answer is rebuilt (or its recorded events taken as they are), served by a provider server on this machine
and asked for with the recorded request: as JSON, as a stream, and as the recorded stream. That is done by a bare
client before anything is wrapped, then by a metered client that asks for stream usage, then by one that does not.
Compared are what the caller gets (types, fields, values, order, exceptions), what went over the wire (method, path,
headers, body; only `stream_options.include_usage` may be added, and only by the client that asks), and the record: one
for each call, with the recording's own usage. Exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import inspect
import json
import ssl
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import openai

sys.path.insert(0, str(Path(__file__).parent))
from expected import Expected, expected_usage, wrong_usage
from rebuild import APIS, place_of_usage, rebuild, recorded

from tokenmeter.testing import ProviderServer, Received, Reply, provider_server

Case = Mapping[str, Any]
ARMS: Final = ("bare", "asking", "not asking")
STAND_IN: Final[Mapping[str, dict[str, Any]]] = {
    "openai.chat": {"messages": [{"role": "user", "content": "?"}]},
    "openai.completions": {"prompt": "?"},
    "openai.embeddings": {"input": "?"},
    "openai.responses": {"input": "?"},
}


@dataclass(frozen=True, slots=True)
class Run:
    """One case in one form: `json`, `sse` or `recorded`."""

    case: Case
    form: str

    @property
    def streamed(self) -> bool:
        return self.form != "json"

    def __str__(self) -> str:
        return f"{self.case['id']} {self.case['vendor']} {self.case['api']} as {self.form}"


@dataclass(slots=True)
class Seen:
    """What one run showed: to the caller, on the wire, and (metered) in the records."""

    returned: str
    wire: tuple[str, str, str]
    body: bytes
    seconds: float
    records: list[Any] = field(default_factory=list)
    detail: str = ""


class Replay:
    """A provider server that gives one case at a time, and clients for it."""

    def __init__(self, server: ProviderServer, keep: bool) -> None:
        self.server = server
        self.keep = keep
        self.run: Run | None = None
        self.tls = ssl.create_default_context()
        server.serve(self._answer)

    def _answer(self, request: Received) -> Reply:
        assert self.run is not None
        if self.run.form == "recorded":
            return recorded(self.run.case)
        return rebuild(self.run.case, request.json)

    def client(self) -> openai.OpenAI:
        # One context for all: reading the machine's certificates would take longer than a hundred calls.
        http = openai.DefaultHttpxClient(verify=self.tls)
        return openai.OpenAI(base_url=f"{self.server.origin}/v1", api_key="any", max_retries=0, http_client=http)

    def once(self, client: openai.OpenAI, run: Run) -> Seen:
        """Make the call and note what the caller saw and what the server got."""
        self.run = run
        self.server.requests.clear()
        method, arguments = _call(client, run)
        began = time.perf_counter()
        shown = list(_shown(method, arguments))
        seconds = time.perf_counter() - began
        if len(self.server.requests) != 1:
            raise SystemExit(f"{run}: {len(self.server.requests)} requests instead of one")
        request = self.server.requests[0]
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        wire = (request.method, request.path, json.dumps(headers))
        text = "\n".join(shown)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Seen(digest, wire, request.body, seconds, detail=text if self.keep else "")


def _shown(method: Callable[..., Any], arguments: dict[str, Any]) -> Iterator[str]:
    """The representation of everything the caller gets: pydantic's names types, fields, extras and their order."""
    try:
        got = method(**arguments)
        yield type(got).__qualname__
        if not isinstance(got, openai.Stream):
            yield repr(got)
            return
        for chunk in got:
            yield repr(chunk)
    except Exception as error:  # noqa: BLE001 whatever the caller would see is part of the answer
        yield f"{type(error).__qualname__}: {error}"


def _call(client: openai.OpenAI, run: Run) -> tuple[Callable[..., Any], dict[str, Any]]:
    api = run.case["api"]
    method: Callable[..., Any] = {
        "openai.chat": client.chat.completions.create,
        "openai.completions": client.completions.create,
        "openai.embeddings": client.embeddings.create,
        "openai.responses": client.responses.create,
    }[api]
    body = dict(run.case["request"] or STAND_IN[api])
    body.setdefault("model", run.case["model_requested"] or "unknown")
    if run.streamed:
        body["stream"] = True
        if run.case["request"] is None and run.form == "recorded" and _was_asked(run.case):
            body["stream_options"] = {"include_usage": True}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)
    known = _parameters(api, method)
    arguments = {name: value for name, value in body.items() if name in known}
    extra = {name: value for name, value in body.items() if name not in known}
    return method, {**arguments, "extra_body": extra} if extra else arguments


def _was_asked(case: Case) -> bool:
    """Whether a recorded stream ends with the chunk that its lost request must have asked for."""
    events = [json.loads(event) for event in case["stream_events"] if event.startswith("{")]
    return any(event.get("usage") and event.get("choices") == [] for event in events)


_PARAMETERS: dict[str, frozenset[str]] = {}


def _parameters(api: str, method: Callable[..., Any]) -> frozenset[str]:
    if api not in _PARAMETERS:
        own = {"self", "extra_headers", "extra_query", "extra_body", "timeout"}
        _PARAMETERS[api] = frozenset(inspect.signature(method).parameters) - own
    return _PARAMETERS[api]


def load(path: str, sample: int | None) -> tuple[list[Run], Counter[str]]:
    """The runs of a file of cases, and how many cases were left out by reason."""
    data = Path(path).read_bytes()
    text = (gzip.decompress(data) if path.endswith(".gz") else data).decode()
    skipped: Counter[str] = Counter()
    cases: list[Case] = []
    for line in text.split("\n"):  # not splitlines: a case may hold U+2028
        if not line.strip():
            continue
        case = json.loads(line)
        if case["api"] in APIS:
            cases.append(case)
        elif case["api"].startswith("openai."):
            skipped[f"{case['api']}: counts tokens, calls no model"] += 1
        else:
            skipped[f"{case['api'].partition('.')[0]}: another wire format"] += 1
    if sample is not None and sample < len(cases):
        skipped["outside the sample"] += len(cases) - sample
        cases = [cases[number * len(cases) // sample] for number in range(sample)]
    return [Run(case, form) for case in cases for form in _forms(case)], skipped


def _forms(case: Case) -> Iterator[str]:
    yield "json"
    if case["api"] != "openai.embeddings":
        yield "sse"
    if case.get("stream_events"):
        yield "recorded"


DOUBTS: Final = ("usage_fell", "impossible_zero")
"""Flags of a recording whose own figures contradict each other: what is kept of them is not the last figure."""
DOUBTED: Final = "doubted"


def differences(run: Run, arm: str, bare: Seen, seen: Seen) -> Iterator[tuple[str, str]]:
    """What a metered run showed that the bare one did not, as kind and detail."""
    if seen.returned != bare.returned:
        yield "returned", _first_difference(bare.detail, seen.detail)
    if seen.wire != bare.wire:
        yield "wire", f"{bare.wire} became {seen.wire}"
    if seen.body != bare.body:
        plain, sent = json.loads(bare.body), json.loads(seen.body)
        asked = sent.get("stream_options") or {}
        added = asked.pop("include_usage", None)
        if sent.get("stream_options") == {} and "stream_options" not in plain:
            del sent["stream_options"]
        if arm != "asking" or not added or sent != plain:
            yield "wire", f"body {bare.body[:300]!r} became {seen.body[:300]!r}"
    if len(seen.records) != 1:
        yield "records", f"{len(seen.records)} instead of one"
        return
    doubted = ", ".join(flag for flag in seen.records[0].flags if flag.startswith(DOUBTS))
    for problem in wrong_usage(seen.records[0], _expected(run, seen)):
        yield (DOUBTED, f"{problem} ({doubted})") if doubted else ("usage", problem)


def _expected(run: Run, seen: Seen) -> Expected:
    asked = (json.loads(seen.body).get("stream_options") or {}).get("include_usage")
    silent = (
        run.form == "sse"
        and run.case["api"] != "openai.responses"
        and place_of_usage(run.case) == "asked"
        and not asked
    )
    return expected_usage(run.case, run.form, silent=silent)


def _first_difference(bare: str, metered: str) -> str:
    if not bare:
        return "run again with --show to see"
    for number, (one, other) in enumerate(zip(bare.split("\n"), metered.split("\n"), strict=False)):
        if one != other:
            return f"item {number}: {one[:400]}\n      became {other[:400]}"
    return f"{bare.count(chr(10))} items became {metered.count(chr(10))}"


def main(argv: list[str] | None = None) -> int:
    """Run the replay. 0 if nothing differs, 1 if something does, 2 for a file that cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", help="recorded cases: JSON Lines, plain or gzip")
    parser.add_argument("--sample", type=int, help="so many cases, spread evenly over the file")
    parser.add_argument("--show", type=int, default=5, help="how many differences to print (keeps what was returned)")
    arguments = parser.parse_args(argv)
    try:
        runs, skipped = load(arguments.cases, arguments.sample)
    except (OSError, ValueError) as error:
        print(f"{arguments.cases}: {error}", file=sys.stderr)
        return 2
    with provider_server() as server:
        replay = Replay(server, keep=arguments.show > 0)
        bare, took = _bare(replay, runs)
        found, counts = _metered(replay, runs, bare, took)
    doubted = [one for one in found if one[2] == DOUBTED]
    found = [one for one in found if one[2] != DOUBTED]
    _print(runs, skipped, found, counts, took, arguments.show)
    print(f"explained   {len(doubted)} differences of recordings whose figures contradict each other, each flagged")
    for run, detail in dict.fromkeys((str(run), detail) for _, run, _, detail in doubted):
        print(f"  {run}: {detail}")
    return 1 if found else 0


def _bare(replay: Replay, runs: list[Run]) -> tuple[list[Seen], dict[str, float]]:
    client = replay.client()
    replay.once(client, runs[0])  # the first call opens the connection and builds the SDK's types
    seen = [replay.once(client, run) for run in runs]
    return seen, {"bare": sum(one.seconds for one in seen)}


def _metered(
    replay: Replay, runs: list[Run], bare: list[Seen], took: dict[str, float]
) -> tuple[list[tuple[str, Run, str, str]], Counter[str]]:
    import metered

    found: list[tuple[str, Run, str, str]] = []
    counts: Counter[str] = Counter()
    for arm in ARMS[1:]:
        took[arm] = 0.0
        with metered.clients(replay.client, ask_for_usage=arm == "asking") as (client_for, records):
            for run, plain in zip(runs, bare, strict=True):
                client = client_for(run.case["vendor"])
                del records[:]
                seen = replay.once(client, run)
                seen.records = list(records)
                took[arm] += seen.seconds
                counts["calls"] += 1
                counts["records"] += len(seen.records)
                counts["asked for usage"] += seen.body != plain.body
                found += [(arm, run, kind, detail) for kind, detail in differences(run, arm, plain, seen)]
    return found, counts


def _print(
    runs: list[Run],
    skipped: Counter[str],
    found: list[tuple[str, Run, str, str]],
    counts: Counter[str],
    took: dict[str, float],
    show: int,
) -> None:
    cases = {run.case["id"] for run in runs}
    unknown = sum(run.case["request"] is None for run in runs if run.form == "json")
    forms = Counter(run.form for run in runs)
    print(f"cases       {len(cases)} ({unknown} of them with a stand-in request: the recording has none)")
    print("forms       " + ", ".join(f"{form} {number}" for form, number in forms.items()))
    print("left out    " + (", ".join(f"{number} {reason}" for reason, number in skipped.most_common()) or "none"))
    print(
        f"metered     {counts['calls']} calls, {counts['records']} records; asked for usage {counts['asked for usage']}"
    )
    for arm in ARMS[1:]:
        print(f"{arm:11} {len(runs) / took[arm]:.0f} records per second")
    kinds = Counter(kind for _, _, kind, _ in found)
    print(f"mismatches  {len(found)}" + (f" ({dict(kinds)})" if found else ""))
    for arm, run, kind, detail in found[:show]:
        print(f"  {run}, {arm}: {kind}: {detail}")


if __name__ == "__main__":
    sys.exit(main())
