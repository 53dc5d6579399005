"""The style sheet of the page: `page.css` without its comments and spaces, since each page bears a copy."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from tokenmeter.ledger.page.markup import Markup

__all__ = ["sheet"]


@cache
def sheet() -> Markup:
    """The text of the `style` element."""
    text = Path(__file__).with_name("page.css").read_text("utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", text)
    return Markup(
        re.sub(r" ?([{};,]|: (?=[^{}]*[;}])) ?", lambda found: found[1].strip(), text).replace(";}", "}").strip()
    )
