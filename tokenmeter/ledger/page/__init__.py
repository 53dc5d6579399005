"""The report as one page: HTML with charts as inline SVG, no script, for browsers, mail and print.

`tokenmeter report --format html` (`cli/_report_forms.py`) is the caller. Read `figures.py` first (all that the page
shows, asked of one snapshot through `ledger/report/`), then `document.py` (the page and its sections). `series.py`
is spend over time by a key, `groups.py` which values of a key are shown, `dearest.py`, `price_changes.py` and
`budget_windows.py` are what a report has no rows for; `charts.py`, `scatter.py` and `tables.py` draw, `wording.py`
writes numbers, `words.py` has the texts of both languages, `style.py` the style sheet and `markup.py` the escaping.
"""
