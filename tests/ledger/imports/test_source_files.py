"""Files of imports: encodings, line ends, gzip, JSON on lines and whole, and what is broken in them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.file_problem import FileProblem
from tokenmeter.ledger.imports.source_files import Document, documents

ROW = {"name": "搜索", "tokens": 7}
TABLE = "name,tokens\n搜索,7\n"
CELLS = {"name": "搜索", "tokens": "7"}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(f"{json.dumps(ROW)}\n".encode(), [(1, ROW)], id="lines"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(ROW).encode(), [(1, ROW)], id="mark"),
        pytest.param(f"\r\n{json.dumps(ROW)}\r\n\r\n".encode(), [(2, ROW)], id="crlf"),
        pytest.param(json.dumps(ROW, indent=2).encode(), [(None, ROW)], id="whole"),
        pytest.param(json.dumps([ROW, ROW]).encode(), [(1, ROW), (1, ROW)], id="a list on a line"),
        pytest.param(json.dumps([ROW], indent=1, ensure_ascii=False).encode(), [(None, ROW)], id="a list"),
        pytest.param(gzip.compress(json.dumps(ROW).encode()), [(1, ROW)], id="gzip"),
        pytest.param(json.dumps({"x": "y" * 3_000_000}).encode(), [(1, {"x": "y" * 3_000_000})], id="long line"),
        pytest.param(TABLE.encode(), [(2, CELLS)], id="csv"),
        pytest.param(TABLE.encode("utf-8-sig").replace(b"\n", b"\r\n"), [(2, CELLS)], id="csv with mark and crlf"),
        pytest.param(TABLE.encode("gb18030"), [(2, CELLS)], id="gbk"),
        pytest.param(TABLE.encode("utf-16"), [(2, CELLS)], id="utf-16"),
        pytest.param(TABLE.replace(",", "\t").encode(), [(2, CELLS)], id="tabs"),
        pytest.param(b'a,b\n"' + b"x\n" * 200_000 + b'",2\n', [(200_002, {"a": "x\n" * 200_000, "b": "2"})], id="cell"),
        pytest.param(b"a,b\n1,\n\n,\n3\n", [(2, {"a": "1"}), (5, {"a": "3"})], id="empty cells"),
    ],
)
def test_files_are_read(tmp_path: Path, content: bytes, expected: list[tuple[int | None, Any]]) -> None:
    (tmp_path / "calls").write_bytes(content)
    found = list(documents(str(tmp_path / "calls")))
    assert [(one.line, one.value) for one in found if isinstance(one, Document)] == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", None, "is empty"),
        (b" \n\n", None, "is empty"),
        (b'{"a": 1}\n{"a": \n{"a": 2}\n', 2, "is not JSON"),
        (b'{"a": 1}\n' + b"[" * 100_000 + b"\n", 2, "is not JSON"),
        (b'{\n "a": [1,\n', 3, "is not JSON"),
        (b"a,b\n1,2,3\n", 2, "has 3 cells, the header 2"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, content: bytes, line: int | None, says: str) -> None:
    (tmp_path / "calls").write_bytes(content)
    (problem,) = [one for one in documents(str(tmp_path / "calls")) if isinstance(one, FileProblem)]
    assert (problem.file, problem.line) == ("calls", line)
    assert says in problem.message


def test_the_problem_says_where(tmp_path: Path) -> None:
    assert str(FileProblem("a.csv", 3, "at", "is bad")) == "a.csv:3: at: is bad"
    assert str(FileProblem("a.csv", None, None, "is bad")) == "a.csv: is bad"


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            list(documents(str(path)))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"a,b\n" * 1000)[:20])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(documents(str(tmp_path / "cut.gz")))
