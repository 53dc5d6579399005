"""Reports over a ledger: sums by model, tag, period and any other key, exact and with what is not known beside them.

`tokenmeter report` (`cli/report.py`) is the caller. Read `query.py` first (a question becomes SQL and rows), then
`periods.py` (days, weeks and months of a zone), `conversion.py` (the user's exchange rates), `render.py` (CSV, JSON)
and `screen.py` (the table).
"""
