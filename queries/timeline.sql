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
