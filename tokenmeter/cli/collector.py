"""`tokenmeter collector`: a process that prices the spans of programs in any language and forwards them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS

if TYPE_CHECKING:
    import argparse

__all__ = ["add_parser", "run"]

_DESCRIPTION = """
Receives OpenTelemetry's OTLP, prices the spans of calls to models that any GenAI instrumentation made, adds what they
cost, and forwards everything to an OTLP endpoint. Metrics and logs pass through as they are. OTEL_EXPORTER_OTLP_*
variables say what no flag does about the endpoint, TOKENMETER_* variables about prices, hosts and dialects.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "collector", help=COMMANDS["collector"], description=_DESCRIPTION
    )
    add = parser.add_argument
    to = parser.add_argument_group("where to")
    to.add_argument("--endpoint", metavar="URL", help="the OTLP endpoint to forward to")
    to.add_argument("--protocol", choices=("grpc", "http"), help="how (default: grpc for port 4317, else http)")
    to.add_argument("--header", metavar="NAME=VALUE", action="append", default=[], help="sent along; repeatable")
    to.add_argument("--compression", choices=("none", "gzip"), help="how requests are packed (default: none)")
    to.add_argument("--timeout", type=float, metavar="SECONDS", help="for one attempt (default: 10)")
    to.add_argument("--ca", metavar="FILE", help="certificates that the endpoint's may be signed by")
    add("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    add("--grpc", type=int, default=4317, metavar="PORT", help="for OTLP over gRPC (default: %(default)s; 0: any)")
    add(
        "--http", type=int, default=4318, metavar="PORT", help="for OTLP over HTTP, and /healthz (default: %(default)s)"
    )
    add("--queue", default="64MiB", metavar="SIZE", help="kept in memory while the endpoint is away (%(default)s)")
    add("--largest", default="16MiB", metavar="SIZE", help="the longest request taken, unpacked (%(default)s)")
    add("--elements", type=int, default=1_000_000, metavar="N",
        help="the most spans (20 each), events and attributes in one request (%(default)s)")  # fmt: skip
    add("--body-timeout", type=float, default=30.0, metavar="SECONDS",
        help="for a sender to send a request's body (%(default)s)")  # fmt: skip
    add("--drain", type=float, default=10.0, metavar="SECONDS", help="to send the rest at the end (%(default)s)")
    who = parser.add_argument_group("who may send")
    who.add_argument("--tls-cert", metavar="FILE", help="certificate chain (PEM): both ports then speak TLS only")
    who.add_argument("--tls-key", metavar="FILE", help="its private key (PEM)")
    who.add_argument("--token-file", metavar="FILE",
        help="the bearer token that senders must send (default: $TOKENMETER_COLLECTOR_TOKEN)")  # fmt: skip
    add("--ledger", metavar="FILE|URL",
        help="append every call to this file, or postgresql:// or clickhouse://HOST/DATABASE "
        "(default: $TOKENMETER_LEDGER)")  # fmt: skip
    add("--prometheus", type=int, metavar="PORT", help="let the collector's metrics be scraped here")
    add("--metrics-every", type=float, default=60.0, metavar="SECONDS",
        help="send the collector's metrics to the endpoint; 0 for never (%(default)s)")  # fmt: skip
    add("--tag", metavar="TAG=ATTRIBUTE", action="append", default=[],
        help="whose spend it is, by an attribute of span or resource; service=service.name is there")  # fmt: skip
    add("--scope", metavar="NAME", action="append", default=[], help="a further instrumentation scope; repeatable")
    add("--provider", metavar="NAME=PROVIDER", action="append", default=[],
        help="who bills behind a name where spans carry no address: openai=deepseek; repeatable")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 1 if something could not be sent by then."""
    import asyncio

    from tokenmeter.collector.options import Options
    from tokenmeter.errors import MissingExtra

    options = Options.read(args)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        from tokenmeter.collector.process import run as collect
    except ImportError as missing:
        raise MissingExtra(f"the collector needs {missing.name}", "collector") from None
    return asyncio.run(collect(options, _say))


def _say(line: str) -> None:
    print(line, flush=True)
