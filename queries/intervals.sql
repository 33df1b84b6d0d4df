-- name: AdvanceCutoff :one
-- Events up to the moment are late from now on. Returns whether there is anything to refresh up to it; if not, it writes
-- nothing.
WITH work AS (
    SELECT
        EXISTS (SELECT FROM active_contacts((SELECT watermark FROM interval_progress), @moment::timestamptz))
        OR EXISTS (SELECT FROM contact_states WHERE visit_started_at IS NOT NULL)
        OR EXISTS (SELECT FROM contact_states WHERE checkpoint IS NOT NULL) AS exists
),

advanced AS (
    UPDATE interval_progress SET cutoff = @moment
    WHERE cutoff < @moment AND (SELECT w.exists FROM work AS w)
)

SELECT w.exists::boolean AS work FROM work AS w;

-- name: TryRefreshLock :one
-- Until the transaction ends. No row: another process refreshes.
SELECT watermark FROM interval_progress FOR UPDATE SKIP LOCKED;

-- name: RefreshLock :one
SELECT watermark FROM interval_progress FOR UPDATE;

-- name: RefreshIntervals :exec
SELECT refresh_intervals(@until_at::timestamptz);

-- name: FirstCheckpoint :one
-- Where late events begin. A checkpoint that is not before the watermark has to wait until that has passed it.
SELECT (CASE WHEN count(*) > 0 THEN greatest(min(s.checkpoint), first_month('events')) END)::timestamptz AS checkpoint
FROM contact_states AS s
WHERE s.checkpoint < (SELECT watermark FROM interval_progress);

-- name: RefreshLateIntervals :one
SELECT refresh_late_intervals(@until_at::timestamptz)::integer AS contacts;

-- name: MarkLate :exec
SELECT mark_late(@contact_ids::integer [], @received_ats::timestamptz []);

-- name: MarkAllLate :exec
-- Resets all contacts of instances, or with NULL of all instances, to before their first event, as when a timeout changes.
SELECT
    reset_contacts(
        ARRAY(
            SELECT s.contact_id
            FROM contact_states AS s
            WHERE
                s.first_event_at IS NOT NULL
                AND (sqlc.narg(instance_ids)::integer [] IS NULL OR s.instance_id = ANY(sqlc.narg(instance_ids)::integer []))
            ORDER BY s.contact_id
            FOR UPDATE
        ),
        NULL
    );

-- name: IntervalStatus :one
-- The number of contacts with late events, and when the first event after the watermark was received (NULL: none).
SELECT
    (SELECT count(*) FROM contact_states WHERE checkpoint IS NOT NULL) AS late_contacts,
    (SELECT min(e.received_at) FROM recent_events((SELECT p.watermark FROM interval_progress AS p)) AS e)::timestamptz AS unsettled_since;

-- name: SumInstance :many
SELECT
    measure_name(measure)::text AS measure,
    bucket::integer AS bucket,
    starts::bigint AS starts,
    micros::bigint AS micros,
    confirmed_micros::bigint AS confirmed_micros,
    lengths::bytea AS lengths
FROM sum_instance(@instance_id::integer, @bounds::timestamptz [], @now::timestamptz, @with_lengths::boolean);

-- name: SumContacts :many
-- The parts of contacts' intervals in each bucket, and how many start there, with the lengths of those as of sum_instance.
SELECT
    i.contact_id::integer AS contact_id,
    measure_name(i.measure)::text AS measure,
    p.bucket::integer AS bucket,
    sum(p.starts)::bigint AS starts,
    sum(p.micros)::bigint AS micros,
    sum(p.confirmed_micros)::bigint AS confirmed_micros,
    (string_agg(int8send(micros_between(i.started_at, i.ended_at)), '') FILTER (WHERE p.starts > 0))::bytea AS lengths
FROM contact_intervals(@contact_ids::integer [], @range_start, @range_end, @now) AS i
CROSS JOIN LATERAL bucket_pieces(i.started_at, i.ended_at, i.confirmed_until, @bounds::timestamptz []) AS p
GROUP BY i.contact_id, i.measure, p.bucket;

-- name: TopIntervals :many
-- The contacts of an instance with the most time of a measure in [range_start, range_end), or with by_count the most
-- intervals that start there; those with none are left out. Time is added up as double precision, which is exact up to 285
-- years and much faster: the sum of bigint is numeric.
SELECT
    c.phone,
    t.intervals::bigint AS intervals,
    t.micros::bigint AS micros,
    t.confirmed_micros::bigint AS confirmed_micros
FROM (
    -- Includes ties with the last row, since they are ordered by phone.
    SELECT
        p.contact_id,
        CASE WHEN @by_count::boolean THEN sum(p.intervals) ELSE sum(p.micros) END AS value,
        sum(p.intervals) AS intervals,
        sum(p.micros) AS micros,
        sum(p.confirmed_micros) AS confirmed_micros
    FROM (
        -- Stored and fresh intervals are grouped separately, so that PostgreSQL can group the stored ones in parallel.
        SELECT
            i.contact_id::integer AS contact_id,
            (count(*) FILTER (WHERE i.started_at >= @range_start::timestamptz))::float8 AS intervals,
            sum(micros_between(greatest(i.started_at, @range_start), least(i.ended_at, @range_end::timestamptz))::float8) AS micros,
            sum(micros_between(greatest(i.started_at, @range_start), least(i.confirmed_until, @range_end))::float8) AS confirmed_micros
        FROM stored_within(@instance_id, @range_start, @range_end) AS i
        WHERE i.measure = measure_code(@measure)
        GROUP BY 1
        UNION ALL
        SELECT
            i.contact_id,
            count(*) FILTER (WHERE i.started_at >= @range_start AND i.started_at < @range_end),
            sum(micros_between(greatest(i.started_at, @range_start), least(i.ended_at, @range_end))::float8),
            sum(micros_between(greatest(i.started_at, @range_start), least(i.confirmed_until, @range_end))::float8)
        FROM fresh_intervals(fresh_contact_ids(@instance_id), @now) AS i
        WHERE i.measure = measure_code(@measure)
        GROUP BY 1
    ) AS p
    GROUP BY 1
    HAVING CASE WHEN @by_count THEN sum(p.intervals) ELSE sum(p.micros) END > 0
    ORDER BY value DESC
    FETCH FIRST (@max_rows::integer) ROWS WITH TIES
) AS t
INNER JOIN contacts AS c ON c.id = t.contact_id
ORDER BY t.value DESC, c.phone
LIMIT @max_rows;

-- name: Months :one
-- The range of time that events and intervals can lie in; NULL: there are none. Timeouts end within two days of an event.
SELECT
    least(first_month('events'), first_month('intervals'))::timestamptz AS starts_at,
    (
        SELECT (max(to_date(right(p.relid::regclass::text, 7), 'YYYY_MM')) + interval '2 months') AT TIME ZONE 'UTC'
        FROM (
            SELECT relid, isleaf FROM pg_partition_tree('events') UNION ALL SELECT relid, isleaf FROM pg_partition_tree('intervals')
        ) AS p
        WHERE p.isleaf
    )::timestamptz AS ends_at;

-- name: PlanForRange :exec
-- Within the transaction.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('work_mem', '64MB', true);
