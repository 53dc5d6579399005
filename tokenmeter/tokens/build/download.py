"""Downloads the archive that holds a family's vocabulary from its registry, and checks it against its digest."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenmeter.errors import CatalogError

__all__ = ["fetch"]


def fetch(source: Mapping[str, Any], cache: Path) -> Path:
    """The archive a `[source]` names, from the cache or its registry. Raises CatalogError where the digest differs."""
    cache.mkdir(parents=True, exist_ok=True)
    digest = source["sha256"]
    for path in cache.iterdir():
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    package, version = source["package"], source["version"]
    if source["registry"] == "npm":
        command = ["npm", "pack", "--silent", f"{package}@{version}"]
    else:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{package}=={version}"]
        if "platform" in source:
            command += ["--only-binary=:all:", f"--platform={source['platform']}"]
    before = set(cache.iterdir())
    subprocess.run(command, cwd=cache, check=True, stdout=subprocess.DEVNULL)
    fetched = sorted(set(cache.iterdir()) - before)
    for path in fetched:
        if hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            return path
    for path in fetched:
        path.unlink()
    raise CatalogError(
        [f"{package} {version}: what the registry sent has another sha256 than {digest}; refused. Check the source."]
    )
