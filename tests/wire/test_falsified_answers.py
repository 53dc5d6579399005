"""Falsified answers: fields and events of real shapes dropped, zeroed, negated, repeated, reordered, made up.

The shapes are the bodies and streams of `tests/data/responses`, every wire format there is. Whatever is done to them:
nothing raises, no total falls below what the honest rest proves, and what contradicts is flagged.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenmeter.usage import Source, Usage
from tokenmeter.wire.extract import extract, reader_for
from tokenmeter.wire.extracted import Extracted
from tokenmeter.wire.stream_reader import StreamReader

Case = dict[str, Any]
Place = tuple[str | int, ...]

RESPONSES = Path(__file__).parent.parent / "data" / "responses"
TOTALS = ("input_tokens", "output_tokens")


def read(case: Case, *, with_text: bool = True) -> Extracted:
    if "response" in case:
        return extract(case["response"], provider=case.get("provider"), api=case.get("api"))
    on_text = (lambda kind, text: None) if with_text else None
    reader = StreamReader(provider=case.get("provider"), api=case.get("api"), on_text=on_text)
    for event in case["stream_events"]:
        reader.feed(event)
    return reader.result()


def decoded(case: Case) -> Case:
    """The case with the events of its stream as objects, so that their figures can be changed."""
    if "stream_events" not in case:
        return case
    return {**case, "stream_events": [plain(event) for event in case["stream_events"]]}


def plain(event: Any) -> Any:
    try:
        return json.loads(event) if isinstance(event, str) else event
    except ValueError:
        return event


def load() -> Iterator[Any]:
    for path in sorted(RESPONSES.glob("*/*.json")):
        case = decoded(json.loads(path.read_text(encoding="utf-8")))
        found = read(case)
        if found.usage is not None and found.source is Source.REPORTED and not found.flags and found.error is None:
            yield pytest.param(case, id=f"{path.parent.name}/{path.stem}")


CASES = list(load())
BODIES = [param for param in CASES if "response" in param.values[0]]
STREAMS = [param for param in CASES if "stream_events" in param.values[0]]
quiet = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def leaves(value: Any, at: Place = ()) -> Iterator[tuple[Place, int]]:
    """Every count in some JSON, with its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        if type(inner) is int:
            yield (*at, key), inner
        else:
            yield from leaves(inner, (*at, key))


def component_of(case: Case, place: Place) -> str | None:
    """What a count of the usage object is declared to be; None for one that is not, or only by its neighbours."""
    reader = reader_for(case.get("provider"), case.get("api"), case.get("response"))
    assert reader is not None
    inside: Any = case["response"] if "response" in case else case["stream_events"]
    usage = None
    for at, step in enumerate(place):
        root = reader.api.root(inside) if isinstance(inside, dict) else None
        if usage is None and root is not None and reader.usage_object(root) is not None:
            usage = reader.usage_object(root)
        if inside is usage:
            path = ".".join("[]" if isinstance(name, int) else name for name in place[at:]).replace(".[]", "[]")
            return {name: component for name, component in reader.api.counts.items() if "=" not in name}.get(path)
        inside = inside[step]
    return None


def changed(case: Case, place: Place, value: Any) -> Case:
    """The case with one leaf replaced; `...` drops it."""
    case = copy.deepcopy(case)
    inside: Any = case["response"] if "response" in case else case["stream_events"]
    for step in place[:-1]:
        inside = inside[step]
    if value is ...:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return case


def total(usage: Usage | None, name: str) -> int | None:
    return None if usage is None else getattr(usage, name)


def assert_not_lower(found: Extracted, honest: Usage, lost: int = 0) -> None:
    """Totals are unknown (and so counted) or no lower than the honest ones but for what was taken away."""
    was = [total(honest, name) for name in TOTALS]
    now = [total(found.usage, name) for name in TOTALS]
    if None not in now and sum(n or 0 for n in now) >= sum(w or 0 for w in was) - lost:
        return  # by the grand total all tokens are there
    for name, before, after in zip(TOTALS, was, now, strict=True):
        assert before is None or after is None or after >= before - lost, (name, before, after, found.flags)


def honest_usage(case: Case) -> Usage:
    usage = read(case).usage
    assert usage is not None
    return usage


@pytest.mark.parametrize("case", BODIES)
@quiet
@given(data=st.data())
def test_one_false_figure_takes_away_no_more_than_itself(case: Case, data: st.DataObject) -> None:
    honest = honest_usage(case)
    places = [(place, value) for place, value in leaves(case["response"]) if component_of(case, place)]
    if not places:
        return
    place, value = data.draw(st.sampled_from(places))
    false = data.draw(st.sampled_from([..., 0, None, "", "many", -1, value // 2, -value, 1.5]))
    found = read(changed(case, place, false))
    assert found.usage is not None or found.reason or found.vendor_cost
    assert_not_lower(found, honest, lost=value)
    for name in TOTALS:
        now = total(found.usage, name)
        assert now is None or now >= 0, (name, now)


@pytest.mark.parametrize("case", BODIES)
def test_negative_figures_are_flagged_and_not_believed(case: Case) -> None:
    for place, value in leaves(case["response"]):
        component = component_of(case, place)
        if component is None or component.startswith(("params.", "tier", "vendor_cost", "upstream_cost")) or not value:
            continue
        found = read(changed(case, place, -value))
        assert found.flags, (place, value)
        assert found.usage is None or all(quantity >= 0 for _, quantity in found.usage.items()), place


@pytest.mark.parametrize("case", BODIES)
def test_a_grand_total_below_its_parts_is_flagged(case: Case) -> None:
    reader = reader_for(case.get("provider"), case.get("api"), case["response"])
    assert reader is not None
    honest = honest_usage(case)
    both = honest.input_tokens is not None and honest.output_tokens is not None
    for place, value in leaves(case["response"]):
        if component_of(case, place) == "total" and value > 1 and both and not reader.api.fixed:
            found = read(changed(case, place, 1))
            assert any(flag.startswith("total_mismatch") for flag in found.flags), place
            if not any(flag.startswith("contradiction") for flag in found.flags):
                hidden = value - sum(n for p, n in leaves(case["response"]) if component_of(case, p) in TOTALS)
                assert_not_lower(found, honest, lost=max(hidden, 0))


@pytest.mark.parametrize("case", BODIES)
def test_parts_above_their_total_are_flagged(case: Case) -> None:
    for place, _ in leaves(case["response"]):
        component = component_of(case, place)
        if component in ("cache_read_input_tokens", "reasoning_output_tokens"):
            reader = reader_for(case.get("provider"), case.get("api"), case["response"])
            assert reader is not None
            if any(component in parts for parts in reader.api.outside.values()):
                continue  # added to its total: it cannot be above it
            found = read(changed(case, place, 10**9))
            assert found.flags, place
            assert_not_lower(found, honest_usage(case))


@pytest.mark.parametrize("case", BODIES)
def test_zero_output_beside_text_is_not_believed(case: Case) -> None:
    reader = reader_for(case.get("provider"), case.get("api"), case["response"])
    assert reader is not None
    if not any(text for _, text in reader.api.texts(case["response"])):
        return
    for place, value in leaves(case["response"]):
        if component_of(case, place) in TOTALS and value:
            found = read(changed(case, place, 0))
            assert found.flags or total(found.usage, str(component_of(case, place))) != 0, place


@pytest.mark.parametrize("case", STREAMS)
@quiet
@given(data=st.data())
def test_more_events_never_lower_a_stream(case: Case, data: st.DataObject) -> None:
    """Events repeated as they are, zeroed or halved, at the end or right after themselves."""
    honest = honest_usage(case)
    events = case["stream_events"]
    at = data.draw(st.integers(0, len(events) - 1))
    how = data.draw(st.sampled_from(["same", "zeros", "half"]))
    again = {"provider": case.get("provider"), "api": case.get("api"), "response": copy.deepcopy(events[at])}
    counted = [(place, value) for place, value in leaves(events[at]) if component_of(again, place) and value]
    for place, value in counted if how != "same" else ():
        again = changed(again, place, 0 if how == "zeros" else value // 2)
    where = data.draw(st.sampled_from([at + 1, len(events)]))
    found = read({**case, "stream_events": [*events[:where], again["response"], *events[where:]]})
    for name in TOTALS:
        was, now = total(honest, name), total(found.usage, name)
        assert was is None or (now is not None and now >= was), (name, was, now, how, found.flags)
    if how == "zeros" and counted:
        assert found.flags, counted


@pytest.mark.parametrize("case", STREAMS)
@quiet
@given(data=st.data())
def test_events_in_any_order_or_missing_never_raise_and_never_lower(case: Case, data: st.DataObject) -> None:
    honest = honest_usage(case)
    order = data.draw(st.permutations(range(len(case["stream_events"]))))
    kept = order[: data.draw(st.integers(0, len(order)))]
    found = read({**case, "stream_events": [case["stream_events"][at] for at in kept]})
    assert found.usage is not None or found.reason
    if sorted(kept) == sorted(order):
        assert_not_lower(found, honest)


@pytest.mark.parametrize("case", CASES)
@quiet
@given(data=st.data())
def test_no_falsification_raises(case: Case, data: st.DataObject) -> None:
    """Any number of figures replaced by anything."""
    kind = "response" if "response" in case else "stream_events"
    places = [place for place, _ in leaves(case[kind])]
    anything: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=3)
    )
    anything = anything | st.lists(anything, max_size=2) | st.dictionaries(st.text(max_size=3), anything, max_size=2)
    for place in data.draw(st.lists(st.sampled_from(places), max_size=4, unique=True)) if places else ():
        case = changed(case, place, data.draw(anything))
    found = read(case, with_text=data.draw(st.booleans()))
    assert found.usage is not None or found.reason or found.vendor_cost
    assert found.usage is None or all(value >= 0 for name, value in found.usage.items() if name in TOTALS)
