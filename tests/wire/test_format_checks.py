"""A mistake in a file of wire formats is said with its place, before any answer is read by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter.errors import CatalogError
from tokenmeter.wire.formats import read_apis

GOOD = """
[[api]]
id = "a.chat"
operation = "chat"
paths = ["/chat"]
"""


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        pytest.param('[[apis]]\nid = "x"\n', 'a.toml: "apis" is not a key here (did you mean "api"?)', id="a table"),
        pytest.param('[[api]]\nid = "b"\n', 'api "b": "operation" is missing', id="a key that is missing"),
        pytest.param('[[api]]\nid = "a.chat"\noperation = "chat"\n', "is described in", id="a name twice"),
        pytest.param(
            '[[api]]\nid = "b"\nextends = "a.chatt"\noperation = "chat"\n', "there is no api 'a.chatt'", id="a base"
        ),
        pytest.param(
            '[[api]]\nid = "b"\nextends = "a.chat"\npathes = []\n', '(did you mean "paths"?)', id="an extension's key"
        ),
        pytest.param(
            '[[api]]\nid = "b"\noperation = "chat"\ncounts = { prompts = "input_tokenz" }\n',
            "'input_tokenz' is not a component",
            id="a component",
        ),
        pytest.param(
            '[[api]]\nid = "b"\noperation = "chat"\n[api.deltas."*"]\ntxt = ["x"]\n',
            '(did you mean "text"?)',
            id="a kind of text",
        ),
        pytest.param('[[sign]]\napi = "b"\nhas = ["x"]\n', "sign for 'b': there is no such api", id="a sign"),
    ],
)
def test_a_mistake_is_said(tmp_path: Path, more: str, problem: str) -> None:
    (tmp_path / "a.toml").write_text(GOOD + more, encoding="utf-8")
    with pytest.raises(CatalogError) as raised:
        read_apis(tmp_path)
    assert problem in str(raised.value)


def test_a_file_without_mistakes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD, encoding="utf-8")
    assert read_apis(tmp_path).for_path("/v1/chat?x=1") == "a.chat"
