"""The SDK matrix: what pip may install for it, and which green environments it does not believe."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def tool(name: str) -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return runpy.run_path(str(ROOT / "tools" / f"{name}.py"))
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_pip_takes_the_floors_as_constraints() -> None:
    """It refuses constraints with extras. Without the floors it takes zhipuai 1.0.7, whose client is another."""
    floors = [Requirement(floor) for floor in tool("sdk_matrix")["floors"]()]
    assert [floor for floor in floors if floor.extras] == []
    (zhipuai,) = [floor.specifier for floor in floors if floor.name == "zhipuai"]
    assert zhipuai.contains("2.1.5.20250825")
    assert not zhipuai.contains("1.0.7")


PASSED = '<testcase classname="tests.clients.test_{}.TestIt" name="test_plain"/>'
SKIPPED = '<testcase classname="tests.clients.test_{}.TestIt" name="test_plain"><skipped/></testcase>'
FOUND = {
    "anthropic": "1.17.0",
    "cohere": "5.21.1",
    "groq": "0.37.1",
    "huggingface-hub": "1.33.0",
    "mistralai": "2.10.1",
    "zhipuai": "2.1.5",
}
FILES = ("anthropic", "cohere", "groq", "huggingface", "mistralai", "zhipu")


@pytest.mark.parametrize(
    ("versions", "skipped", "words"),
    [
        pytest.param({}, (), [], id="each package has a case"),
        pytest.param({}, ("zhipu",), ["no case of zhipuai passed"], id="a package that cannot be imported"),
        pytest.param(
            {"zhipuai": "1.0.7"}, (), ["zhipuai 1.0.7 is none of the majors (2,) of the table"], id="an older major"
        ),
    ],
)
def test_a_green_environment_has_tested_what_it_asks_for(
    versions: dict[str, str], skipped: tuple[str, ...], words: list[str], tmp_path: Path
) -> None:
    cases = [(SKIPPED if name in skipped else PASSED).format(name) for name in FILES]
    report = tmp_path / "report.xml"
    report.write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    matrix = tool("sdk_matrix_clients")
    assert list(matrix["untested"]("middle", FOUND | versions, report)) == words
