"""Compiles the price book: sourced facts and committed decisions in, `tokenmeter/prices/data/*.toml` out.

Run by maintainers from the root of a checkout (`python -m tools.price_book FACTS`) and by `tokenmeter prices check
--coverage`. Read `build_book.py` first; README.md lists the steps and says how a price is settled.
"""
