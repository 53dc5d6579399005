"""`FixedClock`: a clock for tests, set by hand, for prices that depend on the time."""

from __future__ import annotations

from datetime import datetime, timedelta

__all__ = ["FixedClock"]


class FixedClock:
    """Clock for `Tokenmeter(clock=...)`: calls start at its instant. Durations are measured by the real clock.

    `at` is a datetime with a zone, or RFC 3339 text with an offset. Raises ValueError without one.
    """

    def __init__(self, at: datetime | str) -> None:
        self._ns = _nanoseconds(at)

    def __call__(self) -> int:
        """The instant in nanoseconds since 1970-01-01 UTC."""
        return self._ns

    def set(self, at: datetime | str) -> None:
        """Set another instant, earlier or later. Raises ValueError for one without an offset."""
        self._ns = _nanoseconds(at)

    def advance(self, by: timedelta | float) -> None:
        """Move forward by a timedelta or by seconds."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self._ns += (step // timedelta(microseconds=1)) * 1000


def _nanoseconds(at: datetime | str) -> int:
    instant = datetime.fromisoformat(at) if isinstance(at, str) else at
    if instant.tzinfo is None:
        raise ValueError(f"{at!s} has no offset; write it as 2026-01-31T10:00:00+08:00")
    since = instant - datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return (since // timedelta(microseconds=1)) * 1000
