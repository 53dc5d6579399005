"""Spans of other instrumentations in: each call that they trace becomes one record, and its span gets the cost.

Called by users (`CostSpanProcessor`, `CostSpanExporter`), by the collector (`EndedCalls`), and by `otel/spans.py`,
which asks whether the current span already stands for the call. Read `records.py` first: it makes a record, step by
step, of what `span_data.py`, `billing_provider.py` and `usage.py` read from a span. Two drivers decide which span of a
call counts: `processor.py` for spans that end in this process, `batches.py` (with `exporter.py`) for spans that have
ended, from any process. `same_call.py` finds spans of two instrumentations for one call, `cost_attributes.py` makes the
attributes that a span gets. Another instrumentation is rows in `names.py`, and its scope in `semconv.GENAI_SCOPES`.
"""
