"""The ledger of a fleet: the calls of many machines' ledger files in one PostgreSQL database.

`database.py` opens it and brings its tables up to date (`ledger/sql/postgresql/*.sql`), `shipping.py` copies the calls
of a file there. A file is the spool: written first, shipped after, so that a database that is away loses nothing.
"""
