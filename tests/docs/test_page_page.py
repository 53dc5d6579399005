"""docs/page.md and its Chinese page: every command runs on a ledger, and its sections are those of the page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.rigs import spend_story
from tests.rigs.page_tables import Page
from tokenmeter.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("page.md", "zh/page.md")}
COMMANDS = {
    name: [
        command
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for command in re.findall(r"^tokenmeter (.*)$", block, re.MULTILINE)
    ]
    for name, text in PAGES.items()
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("page")
    spend_story.write(place / "spend.db", spend_story.records(20))
    (place / "budgets.toml").write_text(spend_story.BUDGETS, "utf-8")
    return place


def test_both_pages_have_the_same_commands() -> None:
    assert COMMANDS["page.md"] == COMMANDS["zh/page.md"]
    assert len(COMMANDS["page.md"]) == 5


@pytest.mark.parametrize("command", COMMANDS["page.md"])
def test_a_command_runs(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    arguments = shlex.split(command)
    if arguments[0] == "top":
        pytest.importorskip("rich", reason="the extra `cli` is not installed")
        arguments = [*arguments, *([] if "--once" in arguments else ["--once"])]
    assert main(arguments) == 0
    if arguments[0] == "report":
        written = (folder / arguments[-1]).read_text("utf-8")
        assert len(written.encode()) < 110_000
        assert Page(written).table("Budget search-day" if "--budgets" not in arguments else "预算 search-day")
    else:
        assert capsys.readouterr().out.startswith("tokenmeter top  spend.db")


def test_its_sections_are_those_of_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name, language in (("page.md", "en"), ("zh/page.md", "zh")):
        made = ["report", "spend.db", "--lang", language, "--budgets", "budgets.toml", "--output", "p.html"]
        made += ["--tz", "Asia/Shanghai", "--since", "2026-08-16", "--compare", "previous"]
        assert main(made) == 0
        page = Page((folder / "p.html").read_text("utf-8"))
        count = sum(1 for tag, _ in page.elements if tag == "section")
        rows = re.findall(r"^\| (?!---|section|部分)", PAGES[name], re.MULTILINE)
        assert count == len(rows) + 1  # totals are no section; models and tags, calls and runs share a row


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page: str) -> None:
    targets = re.findall(r"\]\(([^)#]*)|src=\"([^\"]+)\"", PAGES[page])
    assert len(targets) > 4
    for pair in targets:
        target = "".join(pair)
        assert ((DOCS / page).parent / target).exists(), target


def test_pictures_are_small() -> None:
    sizes = [path.stat().st_size for path in (DOCS / "images").glob("page*.png")]
    assert len(sizes) == 2
    assert max(sizes) < 150_000
