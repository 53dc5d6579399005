"""Prices usage: every provider's dated rates, as data, and the book that answers what a usage costs at an instant.

Called by `calls.billing` for each record, by `tokenmeter.price` and by the command line. Read `book.py` first. A price
line's way: `price_file` (file, dated rates), `model_names` (which model a name means), `provider_prices` (the quote
for a request), `conditions` and `resolved_rate` (which cases apply), `charges` (the sum). The data: `data/*.toml`,
`calendars/*.toml`, `components.toml`; the format: docs/price-format.md.
"""
