"""Budgets: limits on spend that are reserved before a call and settled after it.

budget          what the user writes: a limit, a window, whose spend             read first
limits          "50 CNY" as an integer of a unit
windows         which window an instant belongs to, in the budget's zone
contract        what a store does: reserve, extend, settle, release, renew, read
memory_store    one process
"""
