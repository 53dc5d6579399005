"""Counts whole requests and answers: what chat frames, tools, schemas, switches and media add to the text.

Called by `tokenmeter.tokens` and the command line, imported on first use. Begin with `count.py`: `bodies` reads any
vendor's body into one `Prompt` (`messages`, `tools`, `media`), `rules` finds the endpoint's overheads (dated data in
`rules/*.toml`), `itemize` counts the parts with what `render` and `formulas` make of them, `error_bands` gives the
range. Nothing here raises on a request, whatever is in it.
"""
