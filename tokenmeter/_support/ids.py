"""Ids of calls: UUIDs of version 7, which sort by time, so a ledger's index grows at one end."""

from __future__ import annotations

import os
import random
import time

__all__ = ["new_id"]

# A generator of our own: the host may seed the module's, and asking the system for each id costs a call into it.
_random = random.Random(os.urandom(32))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) as 32 hex digits: 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    bits = _random.getrandbits(74)
    high = (milliseconds << 16) | 0x7000 | (bits >> 62)
    low = 0x8000_0000_0000_0000 | (bits & 0x3FFF_FFFF_FFFF_FFFF)
    return f"{high:016x}{low:016x}"
