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

-- name: TimeOfEvent :one
-- When the contact's event after n others was received, counted within a range of time whose ends are not in it. The run of
-- events that is read as one (spans_around) is left out.
SELECT e.received_at
FROM events AS e
WHERE
    e.contact_id = @contact_id AND e.received_at > @range_start
    AND e.received_at < least(
        sqlc.arg(range_end)::timestamptz,
        (SELECT s.span_first_event_at FROM contact_states AS s WHERE s.contact_id = @contact_id AND s.span_events IS NOT NULL)
    )
ORDER BY e.received_at
LIMIT 1 OFFSET @n;
