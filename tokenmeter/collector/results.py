"""What became of a request, and how that is said in HTTP and in gRPC.

The codes are those of `google.rpc.Code`, which both transports of OTLP use: gRPC as the status, HTTP inside the body
of an error, a `google.rpc.Status`. Which of them mean "come again" is the protocol's own table.
"""

from __future__ import annotations

import enum
import math
from typing import Final, NamedTuple

from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

__all__ = ["KEPT", "Outcome", "Verdict", "away", "code_of_http", "delivered", "full", "hint_of", "rejected", "status"]


class Verdict(enum.Enum):
    """Who has the data now."""

    DELIVERED = "delivered"
    """The endpoint took it, perhaps in part: the response says."""
    KEPT = "kept"
    """It waits here, and will be sent when the endpoint is back."""
    REJECTED = "rejected"
    """Nobody will ever take it as it is: malformed, or turned away by the endpoint for good."""
    AWAY = "away"
    """The endpoint cannot take it now."""
    FULL = "full"
    """No room here: the sender keeps it."""


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
    """The endpoint's own answer."""
    return Outcome(Verdict.DELIVERED, response=response)


def rejected(code: int, message: str, http_status: int | None = None) -> Outcome:
    """Not taken, for good."""
    return Outcome(Verdict.REJECTED, code, message[:_LONGEST_MESSAGE], http_status=http_status)


def away(message: str, retry_after: float | None = None) -> Outcome:
    """Not taken now."""
    return Outcome(Verdict.AWAY, Code.UNAVAILABLE, message[:_LONGEST_MESSAGE], retry_after)


def full(message: str, retry_after: float) -> Outcome:
    """No room; with a hint when there may be."""
    return Outcome(Verdict.FULL, Code.RESOURCE_EXHAUSTED, message, max(1.0, retry_after), http_status=503)


def code_of_http(status: int) -> int:
    """The code that says over gRPC what an HTTP status said."""
    return int(_CODES.get(status, Code.INVALID_ARGUMENT if 400 <= status < 500 else Code.INTERNAL))


def http_of(outcome: Outcome) -> int:
    """The HTTP status of an outcome that is no success."""
    return outcome.http_status or _HTTP.get(outcome.code, 500)


def status(outcome: Outcome) -> Status:
    """The error as both transports carry it, with the hint when to come again."""
    answer = Status(code=outcome.code, message=outcome.message)
    if outcome.retry_after is not None:
        answer.details.add().Pack(retry_info(outcome.retry_after))
    return answer


def retry_info(seconds: float) -> RetryInfo:
    """A hint when to come again, in whole seconds."""
    info = RetryInfo()
    info.retry_delay.seconds = math.ceil(seconds)
    return info


def hint_of(details: bytes | None) -> float | None:
    """When to come again, by a serialized `google.rpc.Status`; None where it does not say."""
    if not details:
        return None
    for detail in Status.FromString(details).details:
        if detail.Is(RetryInfo.DESCRIPTOR):
            info = RetryInfo()
            detail.Unpack(info)
            return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None
