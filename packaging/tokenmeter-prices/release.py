"""Build the data wheel in an environment of its own and list its digest: `make prices-wheel`.

The same checkout gives the same bytes. A wheel that is listed with another digest is refused: two books would bear one
name, and whoever has the first would never get the second.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).parent
SUMS = HERE / "SHA256SUMS"


def listed(path: Path = SUMS) -> dict[str, str]:
    """The digest of every release, by the name of its wheel, as `sha256sum --check` reads them."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def build(folder: Path) -> Path:
    """The wheel, built into a folder by a fresh environment's pip."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        command = [str(python), "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(HERE)]
        subprocess.run(command, check=True)
    return max(folder.glob("tokenmeter_prices-*.whl"), key=lambda path: path.stat().st_mtime)


def main() -> int:
    """Build, compare with the list, and add the wheel to it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path("dist"), metavar="FOLDER", help="where the wheel goes (dist)")
    parser.add_argument("--sums", type=Path, default=SUMS, metavar="FILE", help="the list of digests")
    args = parser.parse_args()
    args.to.mkdir(parents=True, exist_ok=True)
    wheel = build(args.to)
    digest, known = hashlib.sha256(wheel.read_bytes()).hexdigest(), listed(args.sums)
    if known.get(wheel.name, digest) != digest:
        known_as = f"{wheel.name} is listed with the digest {known[wheel.name]}, and is {digest}"
        print(f"{known_as}: count the serial of tokenmeter/prices/edition.toml on", file=sys.stderr)
        return 1
    if wheel.name not in known:
        with args.sums.open("a", encoding="utf-8") as sums:
            sums.write(f"{digest}  {wheel.name}\n")
    print(f"{wheel}\nsha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
