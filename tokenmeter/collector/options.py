"""Options of the collector: parsed from flags and OTEL_EXPORTER_OTLP_* variables, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tokenmeter.collector.access import read_token, ssl_context
from tokenmeter.errors import ConfigurationError

__all__ = ["Options", "size"]

_UNITS: Final = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30,
}  # fmt: skip
_PROTOCOLS: Final = {"http": "http", "http/protobuf": "http", "http/json": "http", "grpc": "grpc"}
_PACKING: Final = ("none", "gzip")
_VARIABLE: Final = "OTEL_EXPORTER_OTLP_"
_GRPC_PORT: Final = 4317


@dataclass(frozen=True, kw_only=True)
class Options:
    """Addresses, limits and sinks of a collector. Sizes are bytes, times are seconds.

    `queue` limits the memory of queued requests; `largest` the size of one request; `patience` how long a sender waits
    for the endpoint before its request is queued and acknowledged; `drain` how long the shutdown may take. `tags` maps
    a tag to the attribute that holds it; with `metrics_every` None the collector exports no metrics of its own.
    `elements` limits the resources, spans, events and attributes of one request; `head_timeout` and `body_timeout` the
    time in which they arrive. `tls` is the files of a certificate and its key, `token` what senders must show.
    """

    endpoint: str
    protocol: str
    headers: Mapping[str, str] = field(default_factory=dict)
    compression: str = "none"
    timeout: float = 10.0
    certificate: str | None = None
    host: str = "127.0.0.1"
    grpc_port: int = 4317
    http_port: int = 4318
    queue: int = 64 * 2**20
    largest: int = 16 * 2**20
    patience: float = 5.0
    drain: float = 10.0
    ledger: str | None = None
    prometheus: int | None = None
    metrics_every: float | None = 60.0
    tags: Mapping[str, str] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    providers: Mapping[str, str] = field(default_factory=dict)
    elements: int = 1_000_000
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    tls: tuple[str, str] | None = None
    token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, args: Any, environment: Mapping[str, str] | None = None) -> Options:
        """Options from parsed flags. Raises ConfigurationError naming the flag or variable and its valid values."""
        said = os.environ if environment is None else environment

        def variable(name: str) -> str | None:
            return said.get(_VARIABLE + name, "").strip() or None

        endpoint = args.endpoint or variable("ENDPOINT")
        if endpoint is None:
            raise ConfigurationError(
                f"where to forward to is not said: give --endpoint http://HOST:4318, or set {_VARIABLE}ENDPOINT"
            )
        protocol, endpoint = _endpoint(endpoint, args.protocol or variable("PROTOCOL"))
        headers = pairs("--header", args.header) if args.header else _headers(variable("HEADERS"))
        compression = args.compression or variable("COMPRESSION") or "none"
        if compression not in _PACKING:
            raise ConfigurationError(f"--compression: {compression!r} is not one of {', '.join(_PACKING)}")
        queue, largest = size("--queue", args.queue), size("--largest", args.largest)
        if largest > queue:
            raise ConfigurationError(f"--largest: a request of {largest} bytes never fits a queue of {queue}")
        _not_itself(endpoint, args)
        _check_numbers(args)
        return cls(
            endpoint=endpoint,
            protocol=protocol,
            headers=headers,
            compression=compression,
            timeout=args.timeout if args.timeout is not None else _milliseconds(variable("TIMEOUT")),
            certificate=args.ca or variable("CERTIFICATE"),
            host=args.host,
            grpc_port=args.grpc,
            http_port=args.http,
            queue=queue,
            largest=largest,
            drain=args.drain,
            ledger=args.ledger,
            prometheus=args.prometheus,
            metrics_every=args.metrics_every or None,
            tags={"service": "service.name", **pairs("--tag", args.tag)},
            scopes=tuple(args.scope),
            providers=pairs("--provider", args.provider),
            elements=args.elements,
            body_timeout=args.body_timeout,
            tls=_tls(args.tls_cert, args.tls_key),
            token=read_token(args.token_file, said),
        )


def _check_numbers(args: Any) -> None:
    for flag in ("http", "grpc", "prometheus"):
        port = getattr(args, flag)
        if port is not None and not 0 <= port <= 65535:
            raise ConfigurationError(f"--{flag}: {port} is no port")
    if args.elements < 1:
        raise ConfigurationError(f"--elements: {args.elements} is no number of elements")
    for flag in ("timeout", "drain", "metrics_every", "body_timeout"):
        seconds = getattr(args, flag)
        if seconds is not None and not 0 <= seconds < 10**6:
            raise ConfigurationError(f"--{flag.replace('_', '-')}: {seconds:g} is no number of seconds")


def _tls(certificate: str | None, key: str | None) -> tuple[str, str] | None:
    """Both files or none, checked by loading them."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ConfigurationError("--tls-cert and --tls-key go together: give the certificate and its private key")
    ssl_context(certificate, key)
    return certificate, key


def _milliseconds(text: str | None) -> float:
    """Value of OTEL_EXPORTER_OTLP_TIMEOUT (milliseconds) in seconds; 10 where it is unset."""
    if text is None:
        return 10.0
    if not text.isdigit() or int(text) == 0:
        raise ConfigurationError(f"{_VARIABLE}TIMEOUT={text!r}: give milliseconds, such as 10000")
    return int(text) / 1000


def size(flag: str, text: str) -> int:
    """Parse a size such as `64MiB` into bytes. Raises ConfigurationError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or float(found[1]) * unit < 1:
        raise ConfigurationError(f"{flag}: {text!r} is no size; write 64MiB, 500MB or 1GiB")
    return int(float(found[1]) * unit)


def pairs(flag: str, texts: Iterable[str]) -> dict[str, str]:
    """Parse `name=value` flags. Raises ConfigurationError."""
    answer = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            # The message leaves out the text: a header may be an API key.
            raise ConfigurationError(f"{flag}: an argument without '='; write {flag} NAME=VALUE")
        answer[name.strip()] = value.strip()
    return answer


def _headers(text: str | None) -> dict[str, str]:
    parts = [part for part in (text or "").split(",") if part.strip()]
    return {name: unquote(value) for name, value in pairs(f"{_VARIABLE}HEADERS", parts).items()}


def _endpoint(text: str, protocol: str | None) -> tuple[str, str]:
    """Protocol and address without a signal's path. Port 4317 without a path means gRPC, by OTLP's convention."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise ConfigurationError(f"--endpoint: {text!r} is no address; write http://HOST:4318 or http://HOST:4317")
    path = re.sub(r"/v1/(traces|metrics|logs)/?$", "", parts.path).rstrip("/")
    if protocol is None:
        protocol = "grpc" if port == _GRPC_PORT and not path else "http"
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"--protocol: {protocol!r} is not one of grpc, http")
    protocol = _PROTOCOLS[protocol]
    if protocol == "grpc" and path:
        raise ConfigurationError(f"--endpoint: {text!r} has a path, and gRPC has none; say --protocol http")
    netloc = parts.netloc.rpartition("@")[2]
    return protocol, f"{parts.scheme}://{netloc}{path}"


def _not_itself(endpoint: str, args: Any) -> None:
    parts = urlsplit(endpoint)
    here = {"127.0.0.1", "localhost", "::1", args.host}
    if parts.hostname in here and parts.port in (args.grpc, args.http) and parts.port:
        raise ConfigurationError(
            f"--endpoint: {endpoint} is where this collector listens; give --grpc or --http others"
        )
