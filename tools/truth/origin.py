"""Where a recording comes from: the repository that holds it, its commit, and the day of the file's last change."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

__all__ = ["origin"]


@cache
def origin(path: Path) -> tuple[str, str | None]:
    """(provenance, day of the last commit of the file or None)."""
    folder = path.parent
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return str(path), None
    inside = path.resolve().relative_to(Path(top).resolve())
    last = _git(folder, "log", "-1", "--format=%H %cs", "--", path.name)
    if not last:
        return str(path), None  # not committed
    commit, _, day = last.partition(" ")
    remote = _git(folder, "remote", "get-url", "origin") or Path(top).name
    name = remote.removesuffix(".git").replace(":", "/").split("/")[-2:]
    return f"{'/'.join(name)}@{commit[:12]}:{inside}", day


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
