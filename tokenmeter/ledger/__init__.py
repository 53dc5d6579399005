"""The ledger: one SQLite row per settled call, and the reports over it.

`wiring.py` adds a `Ledger` as a sink where the setting `ledger` names a file; `tokenmeter report` and the collector
use the same file. Read `writer.py` first (the queue and its thread), then `rows.py` (a record as a row) and
`schema.py` (columns and migrations). `file.py` writes, `process.py` knows when the process forks or ends, and
`report/` reads.
"""
