"""PostgreSQL as the database of a fleet.

`schema.py` opens it and brings its tables up to date (`ledger/sql/postgresql/*.sql`), `store.py` takes the calls of a
file, `snapshot.py` and `dialect.py` answer reports. `engine.py` names what the rest of `fleet` calls.
"""
