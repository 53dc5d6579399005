"""Outcomes of a request (delivered, kept, rejected, unavailable, full) and their HTTP and gRPC statuses.

The codes are those of `google.rpc.Code`, which both transports of OTLP use: gRPC as the status, HTTP inside the body
of an error, a `google.rpc.Status`. The protocol defines which of them are retryable.
"""

from __future__ import annotations

import enum
import math
from typing import Final, NamedTuple

from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

__all__ = [
    "KEPT",
    "Outcome",
    "Verdict",
    "code_of_http",
    "delivered",
    "full",
    "hint_of",
    "rejected",
    "status",
    "unavailable",
]


class Verdict(enum.Enum):
    """Which side has the data now: the endpoint, the collector or the sender."""

    DELIVERED = "delivered"
    """The endpoint accepted it, perhaps in part: the response has the details."""
    KEPT = "kept"
    """The collector queued it and sends it when the endpoint is available again."""
    REJECTED = "rejected"
    """Not retryable: malformed, or rejected by the endpoint for good."""
    UNAVAILABLE = "unavailable"
    """The endpoint failed temporarily; retryable."""
    FULL = "full"
    """The memory budget is used up: the sender keeps it and retries."""


class Outcome(NamedTuple):
    """A verdict; `code` is a `google.rpc.Code`, `retry_after` seconds, `response` a serialized response of OTLP."""

    verdict: Verdict
    code: int = Code.OK
    message: str = ""
    retry_after: float | None = None
    response: bytes = b""
    http_status: int | None = None


KEPT: Final = Outcome(Verdict.KEPT)
_HTTP: Final = {
    Code.INVALID_ARGUMENT: 400, Code.UNAUTHENTICATED: 401, Code.PERMISSION_DENIED: 403, Code.NOT_FOUND: 404,
    Code.UNIMPLEMENTED: 404, Code.RESOURCE_EXHAUSTED: 503, Code.UNAVAILABLE: 503,
}  # fmt: skip
_CODES: Final = {
    401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED, 404: Code.UNIMPLEMENTED, 405: Code.UNIMPLEMENTED,
}  # fmt: skip
_LONGEST_MESSAGE: Final = 500


def delivered(response: bytes) -> Outcome:
    """Outcome with the endpoint's serialized response."""
    return Outcome(Verdict.DELIVERED, response=response)


def rejected(code: int, message: str, http_status: int | None = None) -> Outcome:
    """Outcome of a request that must not be retried."""
    return Outcome(Verdict.REJECTED, code, message[:_LONGEST_MESSAGE], http_status=http_status)


def unavailable(message: str, retry_after: float | None = None) -> Outcome:
    """Outcome of a temporary failure of the endpoint; `retry_after` is its hint, in seconds."""
    return Outcome(Verdict.UNAVAILABLE, Code.UNAVAILABLE, message[:_LONGEST_MESSAGE], retry_after)


def full(message: str, retry_after: float) -> Outcome:
    """Outcome of a full queue; `retry_after` is in seconds, at least 1."""
    return Outcome(Verdict.FULL, Code.RESOURCE_EXHAUSTED, message, max(1.0, retry_after), http_status=503)


def code_of_http(status: int) -> int:
    """The `google.rpc.Code` for an HTTP status."""
    return int(_CODES.get(status, Code.INVALID_ARGUMENT if 400 <= status < 500 else Code.INTERNAL))


def http_of(outcome: Outcome) -> int:
    """The HTTP status of a failed outcome."""
    return outcome.http_status or _HTTP.get(outcome.code, 500)


def status(outcome: Outcome) -> Status:
    """The error as both transports carry it, with the retry delay."""
    answer = Status(code=outcome.code, message=outcome.message)
    if outcome.retry_after is not None:
        answer.details.add().Pack(retry_info(outcome.retry_after))
    return answer


def retry_info(seconds: float) -> RetryInfo:
    """The retry delay as protobuf, rounded up to whole seconds."""
    info = RetryInfo()
    info.retry_delay.seconds = math.ceil(seconds)
    return info


def hint_of(details: bytes | None) -> float | None:
    """Retry delay in seconds of a serialized `google.rpc.Status`; None where it has none."""
    if not details:
        return None
    for detail in Status.FromString(details).details:
        if detail.Is(RetryInfo.DESCRIPTOR):
            info = RetryInfo()
            detail.Unpack(info)
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
