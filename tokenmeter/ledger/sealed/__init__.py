"""Sealed months: the calls of a finished month as a Parquet file with a manifest, and reports over them.

`seal.py` writes them (`close`), `columns.py` says what a file holds, `manifest.py` what stands beside it, and
`verify.py` checks both and finds calls that arrived late. `in_duckdb.py`, through `duckdb_view.py`, answers questions
where DuckDB is installed; `in_sqlite.py` reads sealed months into a temporary SQLite database for everything else that
reads a ledger.
"""
