"""Builds and verifies the packed vocabularies of `tokenizers/`; run by maintainers, never at run time.

`python -m tokenmeter.tokens.build` is the command. Read `__main__.py` first; `readers` fetches archives and reads
tokens out of them, `verify` compares counts with reference tokenizers (the tests run it at a reduced size).
"""
