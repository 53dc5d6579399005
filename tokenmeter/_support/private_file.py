"""Creates the files that hold spend and tags readable by their owner alone."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

__all__ = ["create_private"]


def create_private(path: str) -> None:
    """Create an empty file of mode 0600, whatever the umask; a file that is there keeps its mode and content.

    SQLite takes an empty file for a new database and gives the files it puts beside it the same mode. A symbolic link
    to an existing file is followed, since an operator made both; one that points nowhere is refused, since following
    it would create a file at a place that the caller did not name. Raises OSError for such a link alone: what else
    keeps a file from being created, SQLite meets and names.
    """
    if path == ":memory:":
        return
    if os.path.islink(path) and not os.path.exists(path):
        message = f"a symbolic link to {os.readlink(path)}, which does not exist: create that file"
        raise OSError(errno.ELOOP, message, path)
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
