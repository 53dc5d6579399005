"""Compares our counts with the usage in recorded calls: VCR cassettes, HAR files, request fixtures, OTLP traces.

Asked by `tokenmeter count --check FILE`, and for whole folders by `python -m tools.truth` in the repository. Read
`exchanges.py` first: it takes a file apart into `Exchange`s; `cases` makes a case of each (who answered, what was
asked, said and billed), `answers` reads what was said, and `compare` counts it and names the cause of a difference.
"""
