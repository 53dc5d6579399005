"""Identifies who serves and bills a call: one file a provider, with ids, addresses, sites and models' owners.

Called by `calls.routing` for each request's address, by `prices` for aliases and sites, and by the command line. Read
`registry.py` first; its docstring lists the keys of `*.toml`.
"""
