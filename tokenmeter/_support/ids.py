"""Makes ids of calls: UUIDs of version 7, which sort by time, so a ledger's index grows at one end."""

from __future__ import annotations

import os
import random
import time

from tokenmeter._support.fork import on_fork

__all__ = ["new_id"]


class _Generator(random.Random):
    """A generator of the package's own: the host may seed the module's, and `os.urandom` costs a system call."""

    def forked(self) -> None:
        """In a child process: other ids than the parent's."""
        self.seed(os.urandom(32))


_random = _Generator(os.urandom(32))
on_fork(_random)


def new_id() -> str:
    """A new UUIDv7 (RFC 9562) as 32 hex digits: 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    bits = _random.getrandbits(74)
    high = (milliseconds << 16) | 0x7000 | (bits >> 62)
    low = 0x8000_0000_0000_0000 | (bits & 0x3FFF_FFFF_FFFF_FFFF)
    return (high << 64 | low).to_bytes(16, "big").hex()
