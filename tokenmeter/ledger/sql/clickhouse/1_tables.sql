-- The tables of a fleet's ledger, the sums by day and the view of the calls. ClickHouse 23.8 or newer.
-- Applied by `tokenmeter ledger ship`, statement by statement: each may be applied again. What is acknowledged of calls
-- and of marks is on disk, for a shipper deletes its calls after.

CREATE TABLE IF NOT EXISTS versions (
    version UInt32,
    made_at DateTime64(3, 'UTC') DEFAULT now64(3)
) ENGINE = ReplacingMergeTree ORDER BY version;

-- `zone`: the clock of the days in the sums, an IANA name; that of the first file that was shipped.
CREATE TABLE IF NOT EXISTS settings (
    name String,
    value String,
    precedence UInt64 DEFAULT bitNot(toUInt64(toUnixTimestamp64Micro(now64(6))))
) ENGINE = ReplacingMergeTree(precedence) ORDER BY name;

-- Tags of many values: the sums by day cannot answer for them.
CREATE TABLE IF NOT EXISTS row_tags (
    name String
) ENGINE = ReplacingMergeTree ORDER BY name;

-- One row for each call, known by its id and its end. Shipments may repeat it: of its rows the one of the highest
-- `precedence` counts: one with its cost, one that the program itself recorded, the first. An amount with more than twelve digits after
-- the point stands in `amount_text` instead. `*_whole` and `*_pico` are what an amount is inserted by.
CREATE TABLE IF NOT EXISTS call_rows (
    id String,
    ended_at DateTime64(6, 'UTC'),
    span_us Int64,
    duration_ns Int64,
    time_to_first_chunk Nullable(Float64),
    day Date32,
    provider LowCardinality(Nullable(String)),
    otel_provider LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    request_model LowCardinality(Nullable(String)),
    response_model LowCardinality(Nullable(String)),
    api LowCardinality(Nullable(String)),
    operation LowCardinality(Nullable(String)),
    host LowCardinality(Nullable(String)),
    port Nullable(Int64),
    region LowCardinality(Nullable(String)),
    account LowCardinality(Nullable(String)),
    service_tier LowCardinality(Nullable(String)),
    stream Nullable(Int64),
    end_state LowCardinality(Nullable(String)),
    error_type LowCardinality(Nullable(String)),
    status_code Nullable(Int64),
    finish_reasons LowCardinality(Nullable(String)),
    usage_source LowCardinality(Nullable(String)),
    usage_sources LowCardinality(Nullable(String)),
    status LowCardinality(Nullable(String)),
    currency LowCardinality(Nullable(String)),
    rate_id LowCardinality(Nullable(String)),
    effective_from LowCardinality(Nullable(String)),
    dating LowCardinality(Nullable(String)),
    confidence LowCardinality(Nullable(String)),
    list LowCardinality(Nullable(String)),
    book LowCardinality(Nullable(String)),
    covered_by LowCardinality(Nullable(String)),
    cost_reason LowCardinality(Nullable(String)),
    cost_source LowCardinality(Nullable(String)),
    vendor_currency LowCardinality(Nullable(String)),
    attempt_count Nullable(Int64),
    stale Nullable(Int64),
    vendor_gap Nullable(Int64),
    tags Map(LowCardinality(String), String),
    input_tokens Nullable(Int64),
    output_tokens Nullable(Int64),
    cache_read_input_tokens Nullable(Int64),
    cache_write_input_tokens Nullable(Int64),
    audio_input_tokens Nullable(Int64),
    image_input_tokens Nullable(Int64),
    video_input_tokens Nullable(Int64),
    reasoning_output_tokens Nullable(Int64),
    audio_output_tokens Nullable(Int64),
    image_output_tokens Nullable(Int64),
    tool_definition_tokens Nullable(Int64),
    amount_whole Nullable(Int64) EPHEMERAL,
    amount_pico Nullable(Int64) EPHEMERAL,
    amount Nullable(Decimal(38, 12)) DEFAULT toDecimal128(amount_whole, 12) + amount_pico * toDecimal128('0.000000000001', 12),
    amount_text Nullable(String),
    list_amount Nullable(String),
    cache_saved Nullable(String),
    vendor_whole Nullable(Int64) EPHEMERAL,
    vendor_pico Nullable(Int64) EPHEMERAL,
    vendor_amount Nullable(Decimal(38, 12)) DEFAULT toDecimal128(vendor_whole, 12) + vendor_pico * toDecimal128('0.000000000001', 12),
    vendor_text Nullable(String),
    priced_us Nullable(Int64),
    charge_shape LowCardinality(Nullable(String)),
    charge_values Nullable(String),
    raw_shape LowCardinality(Nullable(String)),
    raw_values Nullable(String),
    sent_shape LowCardinality(Nullable(String)),
    sent_us Nullable(Int64),
    sent_ns Nullable(Int64),
    request_id Nullable(String),
    response_id Nullable(String),
    parent_id Nullable(String),
    trace_id Nullable(String),
    span_id Nullable(String),
    scope_run Nullable(String),
    scope LowCardinality(Nullable(String)),
    cost_flags LowCardinality(Nullable(String)),
    params LowCardinality(Nullable(String)),
    flags LowCardinality(Nullable(String)),
    reason LowCardinality(Nullable(String)),
    unknown_fields LowCardinality(Nullable(String)),
    budget_window LowCardinality(Nullable(String)),
    more Nullable(String),
    duplicate_of Nullable(String),
    precedence UInt64
) ENGINE = ReplacingMergeTree(precedence) PARTITION BY toYYYYMM(ended_at) ORDER BY (ended_at, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Of each day the sums of the ids of the insertions that began and of those that ended, modulo 2^64: where they differ,
-- calls of the day may be on their way. An id that is counted twice keeps the sums apart, which costs speed alone.
CREATE TABLE IF NOT EXISTS day_marks (
    day Date32,
    begun SimpleAggregateFunction(sum, UInt64),
    ended SimpleAggregateFunction(sum, UInt64),
    begun_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) DEFAULT now64(3)
) ENGINE = AggregatingMergeTree ORDER BY day
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The sums of a day, all groups in one row, so that they are replaced at once. `begun` and `ended` are the marks of the
-- day that were read before its calls were: the sums hold as long as the day has these marks.
CREATE TABLE IF NOT EXISTS day_sums (
    day Date32,
    begun UInt64,
    ended UInt64,
    made_at DateTime64(6, 'UTC') DEFAULT now64(6),
    groups Nested (
        provider LowCardinality(Nullable(String)),
        otel_provider LowCardinality(Nullable(String)),
        model LowCardinality(Nullable(String)),
        request_model LowCardinality(Nullable(String)),
        response_model LowCardinality(Nullable(String)),
        api LowCardinality(Nullable(String)),
        operation LowCardinality(Nullable(String)),
        host LowCardinality(Nullable(String)),
        port Nullable(Int64),
        region LowCardinality(Nullable(String)),
        account LowCardinality(Nullable(String)),
        service_tier LowCardinality(Nullable(String)),
        stream Nullable(Int64),
        end_state LowCardinality(Nullable(String)),
        error_type LowCardinality(Nullable(String)),
        status_code Nullable(Int64),
        finish_reasons LowCardinality(Nullable(String)),
        usage_source LowCardinality(Nullable(String)),
        usage_sources LowCardinality(Nullable(String)),
        status LowCardinality(Nullable(String)),
        currency LowCardinality(Nullable(String)),
        rate_id LowCardinality(Nullable(String)),
        effective_from LowCardinality(Nullable(String)),
        dating LowCardinality(Nullable(String)),
        confidence LowCardinality(Nullable(String)),
        list LowCardinality(Nullable(String)),
        book LowCardinality(Nullable(String)),
        covered_by LowCardinality(Nullable(String)),
        cost_reason LowCardinality(Nullable(String)),
        cost_source LowCardinality(Nullable(String)),
        vendor_currency LowCardinality(Nullable(String)),
        attempt_count Nullable(Int64),
        stale Nullable(Int64),
        vendor_gap Nullable(Int64),
        tags Map(LowCardinality(String), String),
        calls Int64,
        input_tokens Nullable(Int64),
        cache_read_input_tokens Nullable(Int64),
        cache_write_input_tokens Nullable(Int64),
        output_tokens Nullable(Int64),
        reasoning_output_tokens Nullable(Int64),
        amount Nullable(Decimal(76, 38)),
        vendor_amount Nullable(Decimal(76, 38)),
        first_at DateTime64(6, 'UTC'),
        last_at DateTime64(6, 'UTC')
    )
) ENGINE = ReplacingMergeTree(made_at) PARTITION BY toYear(day) ORDER BY day;

-- Calls that could not be kept: those that a file lost (`seq` as there), and those that this database refused
-- (less the `seq` of the call).
CREATE TABLE IF NOT EXISTS losses (
    file String,
    seq Int64,
    first_us Int64,
    last_us Int64,
    calls Int64,
    reason String
) ENGINE = ReplacingMergeTree ORDER BY (file, seq);

-- How far each file is shipped. `last_id` is the id of the call at `seq`, by which another file under the same name
-- is told; `provisional` lists calls that were shipped without the cost that they may still get.
CREATE TABLE IF NOT EXISTS shipped_files (
    file String,
    seq Int64,
    last_id Nullable(String),
    losses_seq Int64,
    provisional Array(Int64),
    host String,
    path String,
    shipped_at DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ReplacingMergeTree(shipped_at) ORDER BY file;

-- Every call as one wide row, as the view of a ledger file shows it; `calls` is 1.
CREATE VIEW IF NOT EXISTS calls AS SELECT
    c.id AS id,
    c.parent_id AS parent_id,
    c.ended_at - toIntervalMicrosecond(c.span_us) AS started_at,
    c.ended_at AS ended_at,
    toUnixTimestamp64Micro(c.ended_at) - c.span_us AS started_us,
    toUnixTimestamp64Micro(c.ended_at) AS ended_us,
    c.duration_ns / 1e9 AS duration,
    c.time_to_first_chunk AS time_to_first_chunk,
    c.provider AS provider,
    c.otel_provider AS otel_provider,
    c.model AS model,
    c.request_model AS request_model,
    c.response_model AS response_model,
    c.api AS api,
    c.operation AS operation,
    c.host AS host,
    c.port AS port,
    c.region AS region,
    c.service_tier AS service_tier,
    c.stream AS stream,
    c.end_state AS end_state,
    c.error_type AS error_type,
    c.status_code AS status_code,
    c.finish_reasons AS finish_reasons,
    c.response_id AS response_id,
    c.input_tokens AS input_tokens,
    c.output_tokens AS output_tokens,
    c.cache_read_input_tokens AS cache_read_input_tokens,
    c.cache_write_input_tokens AS cache_write_input_tokens,
    c.audio_input_tokens AS audio_input_tokens,
    c.image_input_tokens AS image_input_tokens,
    c.video_input_tokens AS video_input_tokens,
    c.reasoning_output_tokens AS reasoning_output_tokens,
    c.audio_output_tokens AS audio_output_tokens,
    c.image_output_tokens AS image_output_tokens,
    nullIf(JSONExtractRaw(ifNull(c.more, '{}'), 'usage'), '') AS usage,
    c.usage_source AS usage_source,
    c.usage_sources AS usage_sources,
    nullIf(JSONExtractRaw(ifNull(c.more, '{}'), 'usage_ranges'), '') AS usage_ranges,
    if(isNull(c.raw_shape), NULL, arrayStringConcat(arrayMap(
        (piece, value) -> concat(piece, value),
        JSONExtract(ifNull(c.raw_shape, '[]'), 'Array(String)'),
        arrayResize(splitByChar(',', substring(ifNull(c.raw_values, '[]'), 2, length(ifNull(c.raw_values, '[]')) - 2)), length(JSONExtract(ifNull(c.raw_shape, '[]'), 'Array(String)')), '')
    ))) AS usage_raw,
    c.unknown_fields AS unknown_fields,
    c.status AS status,
    coalesce(CAST(c.amount, 'Nullable(Decimal(76, 38))'), toDecimal256OrNull(c.amount_text, 38)) AS amount,
    c.currency AS currency,
    toDecimal256OrNull(c.list_amount, 38) AS list_amount,
    if(isNull(c.charge_shape), NULL, arrayStringConcat(arrayMap(
        (piece, value) -> concat(piece, value),
        JSONExtract(ifNull(c.charge_shape, '[]'), 'Array(String)'),
        arrayResize(splitByChar(',', substring(ifNull(c.charge_values, '[]'), 2, length(ifNull(c.charge_values, '[]')) - 2)), length(JSONExtract(ifNull(c.charge_shape, '[]'), 'Array(String)')), '')
    ))) AS charges,
    c.rate_id AS rate_id,
    c.effective_from AS effective_from,
    c.dating AS dating,
    c.confidence AS confidence,
    c.list AS list,
    c.book AS book,
    c.covered_by AS covered_by,
    if(
        isNull(c.priced_us),
        parseDateTime64BestEffortOrNull(nullIf(JSONExtractString(ifNull(c.more, '{}'), 'priced_at'), ''), 6, 'UTC'),
        c.ended_at + toIntervalMicrosecond(ifNull(c.priced_us, 0))
    ) AS priced_at,
    c.cost_flags AS cost_flags,
    c.cost_reason AS cost_reason,
    c.cost_source AS cost_source,
    coalesce(CAST(c.vendor_amount, 'Nullable(Decimal(76, 38))'), toDecimal256OrNull(c.vendor_text, 38)) AS vendor_amount,
    c.vendor_currency AS vendor_currency,
    c.attempt_count AS attempt_count,
    if(isNull(c.sent_shape), nullIf(JSONExtractRaw(ifNull(c.more, '{}'), 'attempts'), ''), concat(
        JSONExtractString(ifNull(c.sent_shape, '[]'), 1),
        formatDateTime(c.ended_at - toIntervalMicrosecond(ifNull(c.sent_us, 0)), '%Y-%m-%dT%H:%i:%S.%fZ'),
        JSONExtractString(ifNull(c.sent_shape, '[]'), 2),
        toString(c.sent_ns / 1e9),
        JSONExtractString(ifNull(c.sent_shape, '[]'), 3),
        if(isNull(c.request_id), 'null', toJSONString(assumeNotNull(c.request_id))),
        JSONExtractString(ifNull(c.sent_shape, '[]'), 4)
    )) AS attempts,
    c.tags AS tags,
    c.scope AS scope,
    c.trace_id AS trace_id,
    c.span_id AS span_id,
    c.params AS params,
    c.flags AS flags,
    c.reason AS reason,
    c.budget_window AS budget_window,
    c.scope_run AS scope_run,
    c.account AS account,
    c.tool_definition_tokens AS tool_definition_tokens,
    toDecimal256OrNull(c.cache_saved, 38) AS cache_saved,
    c.duplicate_of AS duplicate_of,
    c.stale AS stale,
    c.vendor_gap AS vendor_gap,
    c.day AS day,
    1 AS calls
FROM call_rows AS c FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Days of which nothing is on its way, and whose sums were made of all that is there.
CREATE VIEW IF NOT EXISTS settled_days AS SELECT s.day AS day
FROM (SELECT day, begun, ended FROM day_sums FINAL) AS s
INNER JOIN (SELECT day, sum(begun) AS begun, sum(ended) AS ended FROM day_marks GROUP BY day) AS m
ON m.day = s.day AND m.begun = s.begun AND m.ended = s.ended;

-- Sums by day of the home zone: of settled days as they were made, of the others each call. What it is asked of is
-- settled is found once, before anything is read.
CREATE VIEW IF NOT EXISTS days AS WITH (SELECT groupArray(day) FROM settled_days) AS settled SELECT
    s.day AS day,
    g.provider AS provider,
    g.otel_provider AS otel_provider,
    g.model AS model,
    g.request_model AS request_model,
    g.response_model AS response_model,
    g.api AS api,
    g.operation AS operation,
    g.host AS host,
    g.port AS port,
    g.region AS region,
    g.account AS account,
    g.service_tier AS service_tier,
    g.stream AS stream,
    g.end_state AS end_state,
    g.error_type AS error_type,
    g.status_code AS status_code,
    g.finish_reasons AS finish_reasons,
    g.usage_source AS usage_source,
    g.usage_sources AS usage_sources,
    g.status AS status,
    g.currency AS currency,
    g.rate_id AS rate_id,
    g.effective_from AS effective_from,
    g.dating AS dating,
    g.confidence AS confidence,
    g.list AS list,
    g.book AS book,
    g.covered_by AS covered_by,
    g.cost_reason AS cost_reason,
    g.cost_source AS cost_source,
    g.vendor_currency AS vendor_currency,
    g.attempt_count AS attempt_count,
    g.stale AS stale,
    g.vendor_gap AS vendor_gap,
    g.tags AS tags,
    g.calls AS calls,
    g.input_tokens AS input_tokens,
    g.cache_read_input_tokens AS cache_read_input_tokens,
    g.cache_write_input_tokens AS cache_write_input_tokens,
    g.output_tokens AS output_tokens,
    g.reasoning_output_tokens AS reasoning_output_tokens,
    g.amount AS amount,
    g.vendor_amount AS vendor_amount,
    toNullable(g.first_at) AS first_at,
    toNullable(g.last_at) AS last_at
FROM day_sums AS s FINAL ARRAY JOIN groups AS g
WHERE has(settled, s.day)
UNION ALL SELECT
    c.day AS day,
    c.provider AS provider,
    c.otel_provider AS otel_provider,
    c.model AS model,
    c.request_model AS request_model,
    c.response_model AS response_model,
    c.api AS api,
    c.operation AS operation,
    c.host AS host,
    c.port AS port,
    c.region AS region,
    c.account AS account,
    c.service_tier AS service_tier,
    c.stream AS stream,
    c.end_state AS end_state,
    c.error_type AS error_type,
    c.status_code AS status_code,
    c.finish_reasons AS finish_reasons,
    c.usage_source AS usage_source,
    c.usage_sources AS usage_sources,
    c.status AS status,
    c.currency AS currency,
    c.rate_id AS rate_id,
    c.effective_from AS effective_from,
    c.dating AS dating,
    c.confidence AS confidence,
    c.list AS list,
    c.book AS book,
    c.covered_by AS covered_by,
    c.cost_reason AS cost_reason,
    c.cost_source AS cost_source,
    c.vendor_currency AS vendor_currency,
    c.attempt_count AS attempt_count,
    c.stale AS stale,
    c.vendor_gap AS vendor_gap,
    c.tags AS tags,
    toInt64(1) AS calls,
    c.input_tokens AS input_tokens,
    c.cache_read_input_tokens AS cache_read_input_tokens,
    c.cache_write_input_tokens AS cache_write_input_tokens,
    c.output_tokens AS output_tokens,
    c.reasoning_output_tokens AS reasoning_output_tokens,
    c.amount AS amount,
    c.vendor_amount AS vendor_amount,
    toNullable(c.ended_at) AS first_at,
    toNullable(c.ended_at) AS last_at
FROM calls AS c
WHERE NOT has(settled, c.day);
