"""Calls of a ledger priced again: at another instant or by another book, or as calls of other models."""
