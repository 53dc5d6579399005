"""The report as one page: HTML with charts as inline SVG, no script, for browsers, mail and print.

`tokenmeter report --format html` (`cli/_report_forms.py`) is the caller. Read `figures.py` first (all that the page
shows, asked of one snapshot through `ledger/report/`), then `document.py` (the page and its sections in order).

- What is asked: `series.py` (spend over time by a key), `groups.py` (which values of a key are told apart), and what a
  report has no rows for: `dearest.py`, `charged.py`, `price_changes.py`, `budget_windows.py`.
- The sections: `over_time.py`, `model_sections.py`, `changes.py`, `sections.py`.
- What they are drawn with: `charts.py`, `scatter.py`, `tables.py`, `wording.py` (numbers), `words.py` (the texts of
  both languages), `page.css` with `style.py`, and `markup.py` (elements, and the escaping of every name).
"""
