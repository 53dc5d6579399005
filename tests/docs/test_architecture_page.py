"""docs/architecture.md is true: each path in it exists, and each folder of the package has its row."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PATH = re.compile(r"`([\w./<>*-]+/[\w.<>*-]*|[\w<>-]+\.(?:py|toml|md))`")


def exists(path: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    return any(next(home.glob(pattern), None) is not None for home in (ROOT, ROOT / "tokenmeter"))


def test_a_path_is_told_from_other_words() -> None:
    assert PATH.findall("`calls/` `a/<id>.toml` `usage.py` `gen_ai.usage.*` `call()` `python -m x`") == [
        "calls/", "a/<id>.toml", "usage.py",
    ]  # fmt: skip
    assert exists("providers/<id>.toml")
    assert not exists("calls/no_such_file.py")


def test_every_path_is_there() -> None:
    paths = sorted(set(PATH.findall(PAGE)))
    assert len(paths) > 50
    assert [path for path in paths if not exists(path)] == []


def test_every_folder_of_the_package_has_a_row() -> None:
    package = ROOT / "tokenmeter"
    folders = {f"{init.parent.relative_to(package)}/" for init in package.rglob("__init__.py")} - {"./"}
    tree = PAGE.partition("## The tree")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([\w/]+/)` \|", tree, re.MULTILINE)) == folders | {"tokenmeter/"}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
