"""Count whole requests and answers: what chat frames, tools, schemas, switches and media add to the text.

`bodies` reads any vendor's body into one `Prompt`, `rules` finds the endpoint's overheads (dated data in
`rules/*.toml`), `render` writes tools and calls as the family does, `media` and `formulas` size what is not text,
`count` sums it all and states the range. Nothing here raises on a request, whatever is in it.
"""

from __future__ import annotations

from tokenmeter.tokens.requests.count import (
    Explained,
    Item,
    count_output,
    count_request,
    explain_output,
    explain_request,
)

__all__ = ["Explained", "Item", "count_output", "count_request", "explain_output", "explain_request"]
