"""Reports over a ledger: sums by model, tag, period and any other key, exact and with what is not known beside them.

`tokenmeter report` (`cli/report.py`) is the caller. Read `query.py` first (a question becomes SQL and rows), then
`columns.py` (what can be asked), `selection.py` and `where.py` (which calls), `answer.py` (rows and totals), `stats.py`
(percentiles), `compare.py` and `causes.py` (two periods), `order.py`, `periods.py` (days, weeks and months of a zone),
`conversion.py` (the user's exchange rates). Forms: `screen.py` with `notes.py` (the table), `render.py` (JSON, CSV),
`flat.py` and `parquet.py`, `markdown.py`.
"""
