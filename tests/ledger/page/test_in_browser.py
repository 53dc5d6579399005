"""The page in a real browser: with script off it is whole, at every width nothing is cut off, no name does anything."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.page.conftest import text
from tests.ledger.page.test_document import HOSTILE
from tests.rigs import spend_story
from tests.rigs.browser import Browser, found
from tests.rigs.made_records import priced, record, unpriced

pytestmark = pytest.mark.skipif(found() is None, reason="no Chromium is installed")

OUTSIDE = """Array.from(document.querySelectorAll("body *")).filter(one => {
  const box = one.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || box.left < -1) && !one.closest(".scroll") && !one.closest("svg");
}).map(one => one.tagName + "." + one.className + " " + one.textContent.slice(0, 40))"""

SCROLLED = """Array.from(document.querySelectorAll("section > div > .scroll")).filter(
  one => one.scrollWidth > one.clientWidth + 1
).map(one => one.innerText.slice(0, 40))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(month: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    day = datetime(2026, 8, 16, tzinfo=UTC)
    for language in ("en", "zh"):
        drawn = text(month, language, since=day, earlier=(day - timedelta(days=15), day))
        (folder / f"{language}.html").write_text(drawn, "utf-8")
    return {language: folder / f"{language}.html" for language in ("en", "zh")}


@pytest.mark.parametrize("width", [390, 768, 1440, 1600])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_cut_off_at_any_width(language: str, width: int, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[language], width=width, script=False)
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value(OUTSIDE) == []
    assert browser.value("document.querySelectorAll('svg[role=img]').length") >= 6
    assert browser.value(SCROLLED) == []


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_is_the_readers(dark: bool, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["en"], dark=dark)
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(16, 19, 23)" if dark else "rgb(255, 255, 255)")


def test_tables_open_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["en"], script=False)
    assert browser.value("document.querySelectorAll('details[open]').length") == 0
    browser.value("document.querySelector('summary').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13)
    assert browser.value("document.querySelectorAll('details[open]').length") == 1
    assert browser.value("document.querySelector('details table').offsetHeight") > 300


def test_screen_readers_get_names_of_charts_and_tables(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["en"], script=False)
    nodes: list[dict[str, Any]] = browser.ask("Accessibility.getFullAXTree")["nodes"]
    names: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert any("CNY per day, 16 periods from 2026-08-16 to 2026-08-31" in name for name in names["image"])
    assert all(names["image"])
    assert "Dearest calls CNY" in names["table"]
    assert {"spend.db", "Without a known cost", "Change", "Spend by model", "Price changes"} <= set(names["heading"])


def test_a_print_is_light_and_has_its_tables(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    browser.open(pages["en"], dark=True, script=False)
    browser.ask("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("document.querySelector('details table').getClientRects().length") == 1
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    calls = [
        record(
            cost,
            tags={"team": name, name[:40]: name},
            scope=(name,),
            trace_id="0" * 32,
            request_model=name,
            budget_window={name: name},
        )
        for name in HOSTILE
        for cost in (priced("1", model=name), priced("2", "USD", model=name), unpriced(name))
    ]
    drawn = tmp_path / "hostile.html"
    drawn.write_text(text(spend_story.write(tmp_path / HOSTILE[-1], iter(calls))), "utf-8")
    for width in (390, 1440):
        browser.open(drawn, width=width)  # script on: only the page itself keeps the names still
        assert browser.value("document.title") == "Spend · {currency} {0} %s"
        assert browser.value("document.querySelectorAll('script, img, a, iframe, [onload], [onerror]').length") == 0
        assert browser.ask("Page.getLayoutMetrics")["cssContentSize"]["width"] == width
        assert browser.value(OUTSIDE) == []
    asked = [event for event in browser.events if event.get("method") == "Network.requestWillBeSent"]
    assert [event["params"]["request"]["url"] for event in asked] == [drawn.as_uri()]
    said = [event for event in browser.events if event.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled")]
    assert said == []
