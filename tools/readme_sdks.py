"""Write the list of SDKs in both READMEs, between its two marks, from the table of SDKs.

python tools/readme_sdks.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tokenmeter.clients.table import SDKS

ROOT: Final = Path(__file__).parents[1]
READMES: Final = {"README.md": (0, ", "), "README.zh-CN.md": (1, "、")}
"""Each README with the column of `listed_as` that it shows and the mark between two names."""
_PER_LINE: Final = 10
_LIST: Final = re.compile(r"(?<=<!-- sdks: make docs -->\n).*?(?=<!-- /sdks -->)", re.DOTALL)


def rewritten(text: str, readme: str) -> str:
    """The README's text with the SDKs that have an adapter of their own, in the table's order."""
    column, comma = READMES[readme]
    names = [
        sdk.listed_as[column] if sdk.listed_as else root
        for root, sdk in SDKS.items()
        if root != "openai" and not sdk.adapter.startswith("transport.")
    ]
    lines = [comma.join(names[at : at + _PER_LINE]) for at in range(0, len(names), _PER_LINE)]
    return _LIST.sub((comma.rstrip() + "\n").join(lines) + "\n", text)


if __name__ == "__main__":
    for name in READMES:
        path = ROOT / name
        path.write_text(rewritten(path.read_text("utf-8"), name), "utf-8")
