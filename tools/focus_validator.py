"""Run the public FOCUS validator on exports of a ledger, in an environment of its own: `make focus`.

    python tools/focus_validator.py [-- PYTEST ARGUMENTS]

The validator's newest release needs Python 3.12: on 3.11 the resolver silently takes one that knows an old
specification. The oldest interpreter of this machine that will do is used, from PATH or from pyenv: more of the
validator's packages have wheels for it. It ships the rules of 1.2.0.1
and nothing newer; version 1.4 is held to its column list by `tests/ledger/focus/test_columns.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sdk_matrix import ROOT, environment

NAME: Final = "focus"
PACKAGES: Final = ("focus-validator==2.2.1", "pyarrow<22", "hypothesis")
OLDEST: Final = (3, 12)
NEWEST: Final = 13
"""The newest minor version for which pyarrow below 22 has wheels."""


def interpreters() -> Iterator[str]:
    """Interpreters that may do, oldest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(OLDEST[1], NEWEST + 1):
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            yield found
        yield from (str(one) for one in sorted(pyenv.glob(f"3.{minor}.*/bin/python")))


def new_enough(python: str) -> bool:
    """Whether it runs and is of a version that the validator takes: pyenv's shims may name one that is not there."""
    code = f"import sys, venv; sys.exit(not {OLDEST} <= sys.version_info[:2] <= (3, {NEWEST}))"
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def main(extra: list[str]) -> int:
    python = next(filter(new_enough, [sys.executable, *interpreters()]), None)
    if python is None:
        print("make focus needs Python 3.12 or 3.13, on PATH or from pyenv: there is none here")
        return 1
    here = environment(NAME, PACKAGES, python)
    command = [str(here), "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-rs", "-v"]
    return subprocess.run([*command, "tests/ledger/focus/test_validator.py", *extra], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main([one for one in sys.argv[1:] if one != "--"]))
