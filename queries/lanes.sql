-- name: Lanes :many
-- A contact's visits and its typing and recording that overlap a range, whole, in order of their start.
SELECT
    measure_name(i.measure)::text AS measure,
    i.started_at::timestamptz AS started_at,
    (CASE WHEN i.ended_by <> 'o' THEN i.ended_at END)::timestamptz AS ended_at,
    i.confirmed_until::timestamptz AS confirmed_until,
    ended_by_name(i.ended_by)::text AS ended_by,
    i.events::bigint AS events
FROM contact_intervals(ARRAY[@contact_id::integer], @range_start, @range_end, @now) AS i
ORDER BY i.started_at, i.measure DESC;
