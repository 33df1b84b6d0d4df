-- name: Timeline :many
SELECT
    s.status::smallint AS status,
    s.started_at::timestamptz AS started_at,
    s.ended_at::timestamptz AS ended_at,
    s.ended_by::text AS ended_by,
    s.events::bigint AS events,
    extract(EPOCH FROM s.until - s.started_at)::double precision AS seconds,
    coalesce(extract(EPOCH FROM s.confirmed_until - s.confirmed_from), 0)::double precision AS confirmed_seconds
FROM spans(@contact_id, @range_start, @range_end, @now) AS s
WHERE s.started_at >= @starts_from::timestamptz
ORDER BY s.started_at
LIMIT @max_rows;

-- name: Durations :many
-- Sums up typing, recording and visits of some contacts, in total (bucket 0) and in buckets 1 … n, where bucket i is
-- [bounds[i], bounds[i + 1]). Counts and lengths are those of the stretches that start in the bucket; lengths are 0 where
-- the count is.
WITH stretch AS MATERIALIZED (
    SELECT
        s.measure::text AS measure,
        s.started_at::timestamptz AS started_at,
        s.until::timestamptz AS until,
        s.confirmed_from::timestamptz AS confirmed_from,
        s.confirmed_until::timestamptz AS confirmed_until
    FROM unnest(@contact_ids::integer []) AS contact (id)
    CROSS JOIN LATERAL stretches(
        contact.id, (@bounds::timestamptz [])[1], (@bounds)[cardinality(@bounds)], @now
    ) AS s
),

-- Each stretch once in the total, and once in every bucket that it touches.
part AS (
    SELECT s.*, 0 AS bucket, (@bounds)[1] AS bucket_start, (@bounds)[cardinality(@bounds)] AS bucket_end
    FROM stretch AS s
    UNION ALL
    SELECT s.*, b.bucket, (@bounds)[b.bucket], (@bounds)[b.bucket + 1]
    FROM stretch AS s
    CROSS JOIN LATERAL generate_series(
        greatest(width_bucket(s.started_at, @bounds), 1),
        least(
            width_bucket(greatest(s.until - interval '1 microsecond', s.started_at), @bounds), cardinality(@bounds) - 1
        )
    ) AS b (bucket)
),

measured AS (
    SELECT
        *,
        started_at >= bucket_start AND started_at < bucket_end AS starts_inside,
        extract(EPOCH FROM until - started_at) AS whole,
        extract(EPOCH FROM least(until, bucket_end) - greatest(started_at, bucket_start)) AS inside,
        extract(
            EPOCH FROM least(confirmed_until, bucket_end) - greatest(confirmed_from, bucket_start)
        ) AS confirmed_inside
    FROM part
)

SELECT
    measure::text AS measure,
    bucket::integer AS bucket,
    count(*) FILTER (WHERE starts_inside) AS count,
    -- Below 0 is what lies outside, where a range begins after now or a stretch is confirmed elsewhere.
    sum(greatest(inside, 0))::double precision AS seconds,
    coalesce(sum(greatest(confirmed_inside, 0)), 0)::double precision AS confirmed_seconds,
    coalesce(avg(whole) FILTER (WHERE starts_inside), 0)::double precision AS mean_seconds,
    coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY whole::double precision) FILTER (WHERE starts_inside), 0)::double precision
        AS median_seconds,
    coalesce(percentile_cont(0.9) WITHIN GROUP (ORDER BY whole::double precision) FILTER (WHERE starts_inside), 0)::double precision
        AS p90_seconds,
    coalesce(max(whole) FILTER (WHERE starts_inside), 0)::double precision AS max_seconds
FROM measured
GROUP BY measure, bucket
ORDER BY measure, bucket;
