"""Takes the pictures of docs/page.md: `python tools/page_pictures.py` (needs Chromium, and fonts for Chinese).

The page is drawn from the calls of `tests/rigs/spend_story.py`, by the command that the docs show.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.rigs import spend_story  # noqa: E402
from tests.rigs.browser import Browser  # noqa: E402
from tokenmeter.cli import main  # noqa: E402

PICTURES = {"page.png": ("en", 1280, 980, False), "page-phone.png": ("zh", 390, 980, True)}
"""The language, width, height and whether it is dark of each picture."""


def take(target: Path) -> None:
    """Write the ledger, the pages and the pictures."""
    with tempfile.TemporaryDirectory() as folder, Browser() as browser:
        ledger = spend_story.write(Path(folder, "spend.db"), spend_story.records(1500))
        for name, (language, width, height, dark) in PICTURES.items():
            page = Path(folder, f"{language}.html")
            made = ["report", ledger, "--tz", "Asia/Shanghai", "--lang", language, "--output", str(page)]
            if main(made):
                raise SystemExit(f"no page in {language}")
            browser.open(page, width=width, dark=dark)
            browser.picture(target / name, height=height)
            print(name, (target / name).stat().st_size)


if __name__ == "__main__":
    take(ROOT / "docs" / "images")
