"""Checks, compares and compiles the price book; for maintainers and `tokenmeter prices`, never on a call's way.

Read `check.py` first (every problem of a price file; overlays pass through it too). `audit` reports what is sound but
improbable, `price_history` what changed, `coverage` and `reproduce` compare the book with its facts, `reference`
writes docs/prices.md, `compile` the files of the wheel.
"""
