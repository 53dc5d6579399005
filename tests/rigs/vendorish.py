"""JSON that looks like a vendor wrote it, for properties."""

from __future__ import annotations

from hypothesis import strategies as st

from tokenmeter.wire.formats import load_apis

NAMES = sorted(
    {part for api in load_apis().by_id.values() for path in (*api.counts, *api.usage, *api.info, *api.envelopes)
     for part in path.replace("[", ".").replace("]", "").split(".") if part and "=" not in part}
)  # fmt: skip


VENDORISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**9)
    | st.floats()
    | st.sampled_from(["12", "", "x", "1.5", "message"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=40,
)
