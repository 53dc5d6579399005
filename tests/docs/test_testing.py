"""docs/testing.md says what is so: its first block runs, and it names every dialect and knob there is."""

from __future__ import annotations

import re
from pathlib import Path

from tokenmeter.testing import Faults
from tokenmeter.testing.dialects import DIALECTS

PAGE = (Path(__file__).resolve().parents[2] / "docs/testing.md").read_text(encoding="utf-8")


def test_the_first_block_runs_as_pasted() -> None:
    block = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    exec(compile(block, "docs/testing.md", "exec"), {})


def test_every_dialect_and_knob_is_named() -> None:
    assert [name for name in DIALECTS if f"`{name}`" not in PAGE] == []
    short = {"tokens_in": "in", "tokens_out": "out"}
    knobs = [short.get(name, name) for name in Faults.__dataclass_fields__]
    assert [knob for knob in knobs if not re.search(rf"[`;]{knob}=", PAGE)] == []
