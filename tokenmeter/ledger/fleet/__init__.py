"""The ledger of a fleet: the calls of many machines' ledger files in one database.

`shipping.py` copies the calls of a file there, `reports.py` answers from there; both speak to an engine (`engine.py`):
`postgresql/` or `clickhouse/`. A file is the spool: written first, shipped after, so that a database that is away loses
nothing.
"""
