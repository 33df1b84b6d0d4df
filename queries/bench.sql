-- What the benchmark compares the intervals with: the same questions, computed from events by window functions alone. They know one
-- rule of spans only, enough for the time that contacts typed: a COMPOSING lasts until the contact's next event, at most
-- for the typing timeout.

-- name: RawTypingByHour :many
-- For each hour from 1970 on, UTC. The caller sums them up by days or hours of the week.
WITH piece AS (
    SELECT
        e.received_at AS from_at,
        least(
            lead(e.received_at) OVER (PARTITION BY e.contact_id ORDER BY e.received_at, e.seq),
            e.received_at + t.typing
        ) AS until_at,
        e.status
    FROM events AS e
    CROSS JOIN (SELECT min(typing) AS typing FROM timeouts) AS t
    WHERE e.received_at >= sqlc.arg(range_start)::timestamptz - t.typing AND e.received_at < sqlc.arg(range_end)
)

SELECT
    (extract(EPOCH FROM hour) / 3600)::bigint AS hour,
    sum(
        micros_between(
            greatest(p.from_at, sqlc.arg(range_start)::timestamptz, hour),
            least(p.until_at, sqlc.arg(range_end)::timestamptz, hour + interval '1 hour')
        )
    )::bigint AS micros
FROM piece AS p
CROSS JOIN LATERAL generate_series(
    date_trunc('hour', greatest(p.from_at, sqlc.arg(range_start)::timestamptz), 'UTC'),
    least(p.until_at, sqlc.arg(range_end)::timestamptz) - interval '1 microsecond',
    '1 hour'
) AS hour
WHERE p.status = 3 AND p.until_at > sqlc.arg(range_start)
GROUP BY hour;

-- name: RawTypingByContact :many
WITH piece AS (
    SELECT
        e.contact_id,
        e.received_at AS from_at,
        least(
            lead(e.received_at) OVER (PARTITION BY e.contact_id ORDER BY e.received_at, e.seq),
            e.received_at + t.typing
        ) AS until_at,
        e.status
    FROM events AS e
    CROSS JOIN (SELECT min(typing) AS typing FROM timeouts) AS t
    WHERE e.received_at >= sqlc.arg(range_start)::timestamptz - t.typing AND e.received_at < sqlc.arg(range_end)
)

SELECT c.phone, sum(micros_between(greatest(p.from_at, sqlc.arg(range_start)::timestamptz), least(p.until_at, sqlc.arg(range_end)::timestamptz)))::bigint AS micros
FROM piece AS p
INNER JOIN contacts AS c ON c.id = p.contact_id
WHERE p.status = 3 AND p.until_at > sqlc.arg(range_start)
GROUP BY c.phone
ORDER BY micros DESC, c.phone
LIMIT sqlc.arg(max_rows);
