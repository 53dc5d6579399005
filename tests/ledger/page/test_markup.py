"""Whatever a text holds, a parser gets it back as text, and finds no other element or attribute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.page_tables import Page
from tokenmeter._support.logs import printable
from tokenmeter.ledger.page.markup import Markup, element, joined

ANY = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["</p>", '"><b>', "<!--", "]]>", "&amp;", "\x00", "\ud800"]
)


@given(child=ANY, attribute=ANY)
def test_any_text_comes_back_as_text(child: str, attribute: str) -> None:
    made = element("p", child, title=attribute, aria_label="a b", class_="x")
    page = Page(made)
    lines = ["\n".join(map(printable, text.split("\n"))) for text in (child, attribute)]
    assert page.elements == [("p", {"title": lines[1], "aria-label": "a b", "class": "x"})]
    assert "".join(page.texts) == lines[0]
    made.encode()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (element("td", "a", class_="n"), "<td class=n>a"),
        (element("path", d="M0 0"), '<path d="M0 0"/>'),
        (element("path", element("title", "x"), d="M0"), "<path d=M0><title>x</title></path>"),
        (element("p", None, Markup("<b>"), hidden=True, id=None), "<p hidden><b></p>"),
        (element("meta", charset="utf-8"), "<meta charset=utf-8>"),
        (joined("<", Markup("<i>"), None), "&lt;<i>"),
        (element("p", title=""), '<p title=""></p>'),
    ],
)
def test_how_an_element_is_written(made: str, expected: str) -> None:
    assert made == expected


def test_a_megabyte_is_cut() -> None:
    assert len(element("p", "x" * 2**20)) < 400
