-- The tables of a fleet's ledger, the roll-up by day and the view of the calls. PostgreSQL 13 or newer.
-- Applied by `tokenmeter ledger ship`, in one transaction; text sorts by its bytes, as in a ledger file.

CREATE SCHEMA IF NOT EXISTS tokenmeter;

CREATE TABLE tokenmeter.versions (
    version integer PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- `zone`: the clock of the days in the roll-up, an IANA name; that of the first file that was shipped.
CREATE TABLE tokenmeter.settings (
    name text PRIMARY KEY,
    value text NOT NULL
);

-- What calls have in common. `known` has a bit for each token sum of `days` that the calls know.
CREATE TABLE tokenmeter.dims (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    provider text COLLATE "C",
    otel_provider text COLLATE "C",
    model text COLLATE "C",
    request_model text COLLATE "C",
    response_model text COLLATE "C",
    api text COLLATE "C",
    operation text COLLATE "C",
    host text COLLATE "C",
    port integer,
    region text COLLATE "C",
    service_tier text COLLATE "C",
    stream integer,
    end_state text COLLATE "C",
    error_type text COLLATE "C",
    status_code integer,
    finish_reasons text COLLATE "C",
    usage_source text COLLATE "C",
    usage_sources text COLLATE "C",
    status text COLLATE "C",
    currency text COLLATE "C",
    rate_id text COLLATE "C",
    effective_from text COLLATE "C",
    dating text COLLATE "C",
    confidence text COLLATE "C",
    list text COLLATE "C",
    book text COLLATE "C",
    covered_by text COLLATE "C",
    cost_reason text COLLATE "C",
    cost_source text COLLATE "C",
    vendor_currency text COLLATE "C",
    attempt_count integer,
    stale integer,
    vendor_gap integer,
    known integer
);

CREATE TABLE tokenmeter.tagsets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    tags jsonb NOT NULL
);

-- Tags of many values, which are on the rows of calls: the roll-up cannot answer for them.
CREATE TABLE tokenmeter.row_tags (
    name text COLLATE "C" PRIMARY KEY
);

CREATE TABLE tokenmeter.texts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    text text COLLATE "C" NOT NULL
);

-- One row for each call. An amount with more than twelve digits after the point stands in `amount_text` instead.
CREATE TABLE tokenmeter.call_rows (
    id text COLLATE "C" NOT NULL,
    ended_at timestamptz NOT NULL,
    span_us bigint NOT NULL,
    duration_ns bigint NOT NULL,
    time_to_first_chunk double precision,
    day date NOT NULL,
    dims bigint NOT NULL,
    tagset bigint NOT NULL,
    tags jsonb,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_input_tokens bigint,
    cache_write_input_tokens bigint,
    audio_input_tokens bigint,
    image_input_tokens bigint,
    video_input_tokens bigint,
    reasoning_output_tokens bigint,
    audio_output_tokens bigint,
    image_output_tokens bigint,
    amount numeric(38, 12),
    amount_text text,
    list_amount numeric,
    vendor_amount numeric(38, 12),
    vendor_text text,
    priced_us bigint,
    charge_shape bigint,
    charge_values text,
    raw_shape bigint,
    raw_values text,
    sent_shape bigint,
    sent_us bigint,
    sent_ns bigint,
    request_id text,
    response_id text COLLATE "C",
    parent_id text COLLATE "C",
    trace_id text COLLATE "C",
    span_id text COLLATE "C",
    scope_run text COLLATE "C",
    scope bigint,
    cost_flags bigint,
    params bigint,
    flags bigint,
    reason bigint,
    unknown_fields bigint,
    budget_window bigint,
    more text,
    duplicate_of text COLLATE "C",
    provisional boolean NOT NULL,
    PRIMARY KEY (id, ended_at)
) PARTITION BY RANGE (ended_at);

CREATE INDEX call_rows_ended ON tokenmeter.call_rows USING brin (ended_at) WITH (pages_per_range = 32);

-- Sums by day of the home zone, kept in the transaction of the rows.
CREATE TABLE tokenmeter.days (
    day date NOT NULL,
    dims bigint NOT NULL,
    tagset bigint NOT NULL,
    calls bigint NOT NULL,
    input_tokens bigint NOT NULL,
    cache_read_input_tokens bigint NOT NULL,
    cache_write_input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_output_tokens bigint NOT NULL,
    amount numeric NOT NULL,
    vendor_amount numeric NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (day, dims, tagset)
);

-- Calls that could not be kept: those that a file lost (`seq` as there), and those that this database refused
-- (less the `seq` of the call).
CREATE TABLE tokenmeter.losses (
    file text NOT NULL,
    seq bigint NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    calls bigint NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (file, seq)
);

-- How far each file is shipped. `last_id` is the id of the call at `seq`, by which another file under the same name
-- is told; `provisional` lists calls that were shipped without the cost that they may still get.
CREATE TABLE tokenmeter.shipped_files (
    file text PRIMARY KEY,
    seq bigint NOT NULL DEFAULT 0,
    last_id text,
    losses_seq bigint NOT NULL DEFAULT 0,
    provisional bigint[] NOT NULL DEFAULT '{}',
    host text,
    path text,
    shipped_at timestamptz
);

-- Make the partition of the month, by UTC, in which an instant lies, if it is not there; with the rights of the owner,
-- so that a user who may only insert rows can begin a month.
CREATE FUNCTION tokenmeter.make_month(at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first timestamptz := date_trunc('month', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
    next timestamptz := (date_trunc('month', at AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
    name text := 'call_rows_' || to_char(first AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tokenmeter.call_rows'));
    IF to_regclass('tokenmeter.' || name) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE tokenmeter.%I PARTITION OF tokenmeter.call_rows FOR VALUES FROM (%L) TO (%L)',
            name, first, next
        );
    END IF;
END $$;

-- A JSON text put together again from its shape, the pieces around the holes, and what fills them.
CREATE FUNCTION tokenmeter.restored(shape text, filling text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT string_agg(piece || coalesce(held::text, ''), '' ORDER BY place)
    FROM json_array_elements_text(shape::json) WITH ORDINALITY AS pieces (piece, place)
    LEFT JOIN json_array_elements(filling::json) WITH ORDINALITY AS fillings (held, place) USING (place)
$$;

-- The JSON of the only request of a call, of which `shape` holds the four pieces.
CREATE FUNCTION tokenmeter.sent(shape text, ended_at timestamptz, us bigint, ns bigint, request_id text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (shape::json ->> 0)
        || to_char((ended_at - us * interval '1 microsecond') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        || (shape::json ->> 1) || ns / 1e9::double precision || (shape::json ->> 2)
        || coalesce(to_json(request_id)::text, 'null') || (shape::json ->> 3)
$$;

-- Every call as one wide row, as the view of a ledger file shows it; `calls` is 1.
CREATE VIEW tokenmeter.calls AS SELECT
    c.id,
    c.parent_id,
    c.ended_at - c.span_us * interval '1 microsecond' AS started_at,
    c.ended_at,
    (extract(epoch FROM c.ended_at) * 1000000)::bigint - c.span_us AS started_us,
    (extract(epoch FROM c.ended_at) * 1000000)::bigint AS ended_us,
    c.duration_ns / 1e9::double precision AS duration,
    c.time_to_first_chunk,
    d.provider,
    d.otel_provider,
    d.model,
    d.request_model,
    d.response_model,
    d.api,
    d.operation,
    d.host,
    d.port,
    d.region,
    d.service_tier,
    d.stream,
    d.end_state,
    d.error_type,
    d.status_code,
    d.finish_reasons,
    c.response_id,
    c.input_tokens,
    c.output_tokens,
    c.cache_read_input_tokens,
    c.cache_write_input_tokens,
    c.audio_input_tokens,
    c.image_input_tokens,
    c.video_input_tokens,
    c.reasoning_output_tokens,
    c.audio_output_tokens,
    c.image_output_tokens,
    c.more::json ->> 'usage' AS usage,
    d.usage_source,
    d.usage_sources,
    c.more::json ->> 'usage_ranges' AS usage_ranges,
    tokenmeter.restored((SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.raw_shape), c.raw_values) AS usage_raw,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.unknown_fields) AS unknown_fields,
    d.status,
    trim_scale(coalesce(c.amount, c.amount_text::numeric)) AS amount,
    d.currency,
    c.list_amount,
    tokenmeter.restored((SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.charge_shape), c.charge_values) AS charges,
    d.rate_id,
    d.effective_from,
    d.dating,
    d.confidence,
    d.list AS list,
    d.book,
    d.covered_by,
    coalesce(
        c.ended_at + c.priced_us * interval '1 microsecond', (c.more::json ->> 'priced_at')::timestamptz
    ) AS priced_at,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.cost_flags) AS cost_flags,
    d.cost_reason,
    d.cost_source,
    trim_scale(coalesce(c.vendor_amount, c.vendor_text::numeric)) AS vendor_amount,
    d.vendor_currency,
    d.attempt_count,
    CASE
        WHEN c.sent_shape IS NULL THEN c.more::json ->> 'attempts'
        ELSE tokenmeter.sent((SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.sent_shape), c.ended_at, c.sent_us, c.sent_ns, c.request_id)
    END AS attempts,
    t.tags || coalesce(c.tags, '{}') AS tags,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.scope) AS scope,
    c.trace_id,
    c.span_id,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.params) AS params,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.flags) AS flags,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.reason) AS reason,
    (SELECT s.text FROM tokenmeter.texts AS s WHERE s.id = c.budget_window) AS budget_window,
    c.scope_run,
    c.duplicate_of,
    d.stale,
    d.vendor_gap,
    c.day,
    1 AS calls
FROM tokenmeter.call_rows AS c
JOIN tokenmeter.dims AS d ON d.id = c.dims
JOIN tokenmeter.tagsets AS t ON t.id = c.tagset;
