"""Exports a ledger as FOCUS, the FinOps Open Cost and Usage Specification: rows of charges for finance tools.

`tokenmeter report --format focus` is the caller. Read `charges.py` first (calls become charges, charges rows), then
`row.py` (the columns of a row), `billed.py` (what saved bills charged), `columns.py` (the columns of each version, data
in `columns.toml`) and `files.py` (CSV and Parquet).
"""
