"""Calls of a ledger priced again: at another instant or by another book, or as calls of other models.

Read `valuation.py` (reprice) and `what_if.py` (compare). Both take the fast way of `linear_prices.py` where they can:
reprice inside SQLite (`rate_join.py`), compare by columns (`vector_compare.py`).
"""
