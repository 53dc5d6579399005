"""Clients of the OTLP endpoint: make one attempt to export a request, over HTTP or gRPC.

A failure of the endpoint is an `Outcome`, never an exception. The protocol defines the retryable answers: over HTTP
429, 502, 503 and 504, with `Retry-After`; over gRPC six codes, and RESOURCE_EXHAUSTED with a `RetryInfo`. A failed
connection and a timeout are retryable too. Every other answer is final.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from tokenmeter._version import __version__
from tokenmeter.collector.results import Outcome, code_of_http, delivered, hint_of, rejected, unavailable
from tokenmeter.collector.signals import Signal
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.collector.options import Options

__all__ = ["GrpcSender", "HttpSender", "Sender", "sender"]

_AGENT: Final = f"tokenmeter-collector/{__version__}"
_RETRYABLE: Final = frozenset({429, 502, 503, 504})
_ANSWER_MOST: Final = 2**20
_PROTOBUF: Final = "application/x-protobuf"


class Sender(Protocol):
    """Client of one endpoint, for every signal."""

    def to(self, signal: Signal) -> Callable[[bytes], Awaitable[Outcome]]:
        """A function that makes one attempt to export a serialized request of a signal."""

    async def close(self) -> None:
        """Close the connections."""


def sender(options: Options) -> Sender:
    """The client for the options' protocol. Raises ConfigurationError for a certificate that cannot be read."""
    return GrpcSender(options) if options.protocol == "grpc" else HttpSender(options)


class HttpSender:
    """OTLP over HTTP, as protobuf."""

    def __init__(self, options: Options) -> None:
        self._endpoint = options.endpoint
        self._gzip = options.compression == "gzip"
        headers = {"Content-Type": _PROTOBUF, "User-Agent": _AGENT, **options.headers}
        if self._gzip:
            headers["Content-Encoding"] = "gzip"
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=options.timeout),
            connector=aiohttp.TCPConnector(ssl=_ssl(options.certificate)),
            trust_env=True,
        )

    def to(self, signal: Signal) -> Callable[[bytes], Awaitable[Outcome]]:
        """A function that makes one attempt to export a serialized request of a signal."""
        url = self._endpoint + signal.path

        async def send(body: bytes) -> Outcome:
            return await self._send(url, signal, body)

        return send

    async def _send(self, url: str, signal: Signal, body: bytes) -> Outcome:
        if self._gzip:
            compressor = zlib.compressobj(1, wbits=31)  # the fastest: what is left is a tenth either way
            body = compressor.compress(body) + compressor.flush()
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as answer:
                said = await answer.content.read(_ANSWER_MOST)
                if answer.status < 300:
                    return delivered(
                        said if answer.content_type == _PROTOBUF and _reads(signal.response, said) else b""
                    )
                message = f"{url} answered {answer.status}: {_reason(said, answer.content_type)}"
                if answer.status in _RETRYABLE:
                    return unavailable(message, _seconds(answer.headers.get("Retry-After")))
                return rejected(code_of_http(answer.status), message, answer.status if answer.status >= 400 else 502)
        except TimeoutError:
            return unavailable(f"{url} did not answer in time")
        except (aiohttp.ClientError, OSError) as error:
            return unavailable(f"{url} cannot be reached: {error or type(error).__name__}")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


class GrpcSender:
    """OTLP over gRPC."""

    def __init__(self, options: Options) -> None:
        scheme, _, target = options.endpoint.partition("://")
        compression = grpc.Compression.Gzip if options.compression == "gzip" else grpc.Compression.NoCompression
        settings = [
            ("grpc.max_send_message_length", -1),
            ("grpc.primary_user_agent", _AGENT),
            # By default gRPC waits up to two minutes between connections; ForwardQueue decides when to retry.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if scheme == "https":
            roots = _read(options.certificate) if options.certificate else None
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.aio.secure_channel(target, credentials, settings, compression)
        else:
            self._channel = grpc.aio.insecure_channel(target, settings, compression)
        self._endpoint = options.endpoint
        self._timeout = options.timeout
        self._metadata = tuple((name.lower(), value) for name, value in options.headers.items())

    def to(self, signal: Signal) -> Callable[[bytes], Awaitable[Outcome]]:
        """A function that makes one attempt to export a serialized request of a signal."""
        export = self._channel.unary_unary(signal.method)  # bytes in, bytes out

        async def send(body: bytes) -> Outcome:
            try:
                answer: bytes = await export(body, timeout=self._timeout, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                return self._failed(error)
            return delivered(answer if _reads(signal.response, answer) else b"")

        return send

    def _failed(self, error: Any) -> Outcome:
        code = error.code()
        message = f"{self._endpoint} answered {code.name}: {error.details()}"
        hint = None
        for name, value in error.trailing_metadata() or ():
            if name == "grpc-status-details-bin":
                hint = _hint(value)
        exhausted = code is grpc.StatusCode.RESOURCE_EXHAUSTED
        if code in _GRPC_RETRYABLE or (exhausted and hint is not None):
            return unavailable(message, hint)
        return rejected(code.value[0], message)

    async def close(self) -> None:
        """Close the connections."""
        await self._channel.close()


_GRPC_RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


def _hint(details: bytes) -> float | None:
    try:
        return hint_of(details)
    except DecodeError:
        return None


def _reads(response: Any, said: bytes) -> bool:
    """Whether a body parses as the response and is not empty; most responses are empty."""
    if not said:
        return False
    try:
        response.FromString(said)
    except DecodeError:
        return False
    return True


def _reason(said: bytes, content_type: str) -> str:
    if content_type == _PROTOBUF:
        try:
            return str(Status.FromString(said).message)
        except DecodeError:
            return ""
    return said[:300].decode("utf-8", "replace").strip()


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds seconds or a date; None where it cannot be read."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigurationError(f"--ca: {path} cannot be read: {error.strerror}") from None


def _ssl(certificate: str | None) -> Any:
    if certificate is None:
        return True
    import ssl

    try:
        return ssl.create_default_context(cadata=_read(certificate).decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ConfigurationError(f"--ca: {certificate} holds no certificates: {error}") from None
