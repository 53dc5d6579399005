"""Vendors' bills beside the ledger: reads exports by formats that are data, compares them, names the causes.

Read `reconcile.py` for the whole way, `bill_format.py` for what a format file says, `causes.py` for the causes,
`saved.py` for what stays in the ledger's file.
"""
