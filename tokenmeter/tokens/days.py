"""Reads the day of a call, on which vocabularies, templates and hidden prompts depend."""

from __future__ import annotations

from datetime import UTC, date, datetime

__all__ = ["Moment", "iso_day"]

Moment = datetime | date | str
"""An instant or a day: a datetime, a date, or either in ISO 8601."""


def iso_day(at: Moment | None) -> str | None:
    """The ISO day (UTC) of an instant, or of a day as it is; None for None, which means now.

    Raises ValueError for a text that is no time, and for an instant without its offset.
    """
    if at is None:
        return None
    if isinstance(at, str):
        try:
            at = date.fromisoformat(at) if len(at) <= len("2026-01-01") else datetime.fromisoformat(at)
        except ValueError:
            raise ValueError(f'at={at!r}: not a time such as "2026-11-21T10:00:00+08:00" or "2026-11-21"') from None
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise ValueError(f"{at.isoformat()} needs an offset, such as {at.isoformat()}+08:00")
        at = at.astimezone(UTC).date()
    if not isinstance(at, date):
        raise ValueError(f"at={at!r}: a {type(at).__name__} is no time")
    return at.isoformat()
