"""Calls of other tools into a ledger: OTLP JSON, exports of tracing products, batch results, gateway logs, CSV.

Called by `tokenmeter ledger import`. Read `importing.py` first. A format is data (`formats/*.toml`, read by
`import_format.py`): rows that state a call (`call_rows.py`), rows that are spans (`span_rows.py`), or the rows that
`tokenmeter ledger export` writes (`own_rows.py`). `source_files.py` opens the files, `fields.py` reads their values.
"""
