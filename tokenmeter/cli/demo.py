"""`tokenmeter demo`: meters calls of the real openai SDK against a local provider server.

It needs no key and no network: the local server answers under the vendors' host names. The command prints the spans
that an OpenTelemetry backend would get, and a report from the ledger.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import COMMANDS, _terminal
from tokenmeter.errors import MissingExtra

if TYPE_CHECKING:
    from tokenmeter.calls.scope import Scope
    from tokenmeter.meter import Tokenmeter

__all__ = ["add_parser", "run"]

_NEXT: Final = """
Now in your own program, before it makes its first client:

    import tokenmeter
    tokenmeter.configure(ledger="spend.db")
    tokenmeter.instrument()

and afterwards: tokenmeter report spend.db"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser("demo", help=COMMANDS["demo"])
    parser.add_argument("--ledger", metavar="FILE", help="keep the demo's ledger here (default: a temporary file)")


def run(args: argparse.Namespace) -> int:
    """Make the calls, print the span tree and the report. Raises MissingExtra naming what to install."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = args.ledger or str(Path(folder, "spend.db"))
        spans = _demo(ledger)
        _heading("The spans, as any OpenTelemetry backend gets them")
        for line in tree(spans, _line):
            print(line)
        _heading("The ledger: tokenmeter report spend.db --by model,team")
        from tokenmeter.cli import main

        status = main(["report", ledger, "--by", "model,team"])
        print(_NEXT)
        return status


def _demo(ledger: str) -> list[Any]:
    try:
        import openai
    except ImportError:
        raise MissingExtra("the demo makes its calls with the openai SDK", "openai") from None
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ImportError:
        raise MissingExtra("the demo shows spans with OpenTelemetry's SDK", "otel") from None
    from tokenmeter.meter import Tokenmeter
    from tokenmeter.testing import provider_server

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter = Tokenmeter(tracer_provider=provider, meter_provider=MeterProvider(), ledger=ledger)
    try:
        with provider_server() as server:

            def client(base_url: str) -> Any:
                http = openai.DefaultHttpxClient(proxy=server.origin)
                return meter.wrap(openai.OpenAI(base_url=base_url, api_key="demo", http_client=http))

            with meter.scope("demo", team="search") as scope:
                _calls(client, meter)
        _show_scope(scope)
    finally:  # the ledger must be written before its folder is removed, also after a closed pipe
        meter.shutdown()
    return list(exporter.get_finished_spans())


def _calls(client: Any, meter: Tokenmeter) -> None:
    qwen = client("http://dashscope.aliyuncs.com/compatible-mode/v1")
    deepseek = client("http://api.deepseek.com")
    doubao = client("http://ark.cn-beijing.volces.com/api/v3")
    chinese = [{"role": "user", "content": "用一句话解释什么是缓存命中。"}]
    english = [{"role": "user", "content": "Explain a cache hit in one sentence."}]

    print("qwen-plus, in Chinese:")
    answer = qwen.chat.completions.create(model="qwen-plus;lang=zh", messages=chinese)
    print(f"  {answer.choices[0].message.content}")

    with meter.scope("rerank", feature="rerank"):
        print("deepseek-chat, in English, streamed:")
        stream = deepseek.chat.completions.create(model="deepseek-chat", messages=english, stream=True)
        print("  " + "".join(chunk.choices[0].delta.content or "" for chunk in stream))

        print("qwen-plus, streamed; its usage is asked for, and the extra chunk hidden again:")
        stream = qwen.chat.completions.create(model="qwen-plus;lang=zh", messages=chinese, stream=True)
        print("  " + "".join(chunk.choices[0].delta.content or "" for chunk in stream))

    with meter.tags(team="ads"):
        print("doubao-seed-1-6-250615, left after three chunks; the rest is counted:")
        stream = doubao.chat.completions.create(
            model="doubao-seed-1-6-250615;chunks=40;lang=zh", messages=chinese, stream=True
        )
        with stream:
            print("  " + "".join(next(stream).choices[0].delta.content or "" for _ in range(3)) + "…")

        print("deepseek-chat, refused twice before it answers; three attempts, one bill:")
        answer = deepseek.chat.completions.create(model="deepseek-chat;fail=2", messages=english)
        print(f"  {answer.choices[0].message.content}")

        print("a model without a price in the book:")
        deepseek.chat.completions.create(model="deepseek-next-week", messages=english)
        print("  recorded with its tokens, and not priced")


def _heading(text: str) -> None:
    _terminal.show(f"\n{text}\n", {"^.+$": "bold"})


def _show_scope(scope: Scope) -> None:
    _heading("The scope, with everything inside it")
    from tokenmeter.calls.scope_text import rows_of

    for name, value in rows_of(scope):
        print(f"  {name:<26} {value}")


def tree(spans: Iterable[Any], line: Callable[[Any, int], str]) -> list[str]:
    """Lines of the span tree, parents before children; `line(span, depth)` formats one span."""
    children: dict[int | None, list[Any]] = {}
    known = {span.context.span_id for span in spans}
    for span in spans:
        parent = span.parent.span_id if span.parent is not None else None
        children.setdefault(parent if parent in known else None, []).append(span)
    lines: list[str] = []

    def draw(parent: int | None, depth: int) -> None:
        for span in sorted(children.get(parent, ()), key=lambda one: one.start_time):
            lines.append(line(span, depth).rstrip())
            draw(span.context.span_id, depth + 1)

    draw(None, 1)
    return lines


def _line(span: Any, depth: int) -> str:
    name = span.name.partition(";")[0]  # behind it the demo tells its server what to do
    return f"{'  ' * depth}{name:<{38 - 2 * depth}} {_cost_and_end(dict(span.attributes))}"


def _cost_and_end(attributes: dict[str, Any]) -> str:
    amount = attributes.get("tokenmeter.cost.amount")
    words = [f"{amount} {attributes.get('tokenmeter.cost.currency')}" if amount is not None else ""]
    words.append(str(attributes.get("tokenmeter.end", "")))
    words.append(str(attributes.get("tokenmeter.usage.source", "")))
    return "  ".join(word for word in words if word)
