-- name: AdvanceCutoff :one
-- From now on, events up to the moment are late. Returns whether there is anything to refresh up to it; if not, nothing is
-- written.
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
SELECT watermark, cutoff FROM interval_progress FOR UPDATE SKIP LOCKED;

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
-- instance_ids NULL: of all instances.
SELECT mark_all_late(sqlc.narg(instance_ids)::integer []);

-- name: IntervalStatus :one
-- What is not stored yet: the contacts with late events, and since when there are events after the watermark (NULL: none).
SELECT
    (SELECT count(*) FROM contact_states WHERE checkpoint IS NOT NULL) AS late_contacts,
    (SELECT min(e.received_at) FROM events AS e WHERE e.received_at > (SELECT watermark FROM interval_progress))::timestamptz AS unsettled_since;

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
SELECT
    contact_id::integer AS contact_id,
    measure_name(measure)::text AS measure,
    bucket::integer AS bucket,
    starts::bigint AS starts,
    micros::bigint AS micros,
    confirmed_micros::bigint AS confirmed_micros,
    lengths::bytea AS lengths
FROM sum_contacts(@contact_ids::integer [], @bounds::timestamptz [], @now::timestamptz);

-- name: TopIntervals :many
SELECT phone::text AS phone, intervals::bigint AS intervals, micros::bigint AS micros, confirmed_micros::bigint AS confirmed_micros
FROM
    top_intervals(
        @instance_id::integer,
        @measure::text,
        @by_count::boolean,
        @range_start::timestamptz,
        @range_end::timestamptz,
        @now::timestamptz,
        @max_rows::integer
    );

-- name: Months :one
-- The range of time that events and intervals can lie in; NULL: there are none.
SELECT
    least(first_month('events'), first_month('intervals'))::timestamptz AS starts_at,
    (
        SELECT (max(to_date(right(relid::regclass::text, 7), 'YYYY_MM')) + interval '1 month') AT TIME ZONE 'UTC'
        FROM pg_partition_tree('events')
        WHERE isleaf
    )::timestamptz AS ends_at;

-- name: PlanForRange :exec
-- Within the transaction.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('work_mem', '64MB', true);
