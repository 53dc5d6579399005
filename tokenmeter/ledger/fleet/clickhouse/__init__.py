"""ClickHouse as the database of a fleet.

`schema.py` opens it and brings its tables up to date (`ledger/sql/clickhouse/*.sql`), `store.py` takes the calls of a
file, `days.py` sums them by day, `snapshot.py` and `dialect.py` answer reports. `engine.py` names what the rest of
`fleet` calls.
"""
