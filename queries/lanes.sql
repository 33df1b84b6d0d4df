-- name: Lanes :many
-- A contact's visits and its typing and recording that overlap a range, whole, in order of their start.
SELECT
    measure_name(i.measure)::text AS measure,
    i.started_at::timestamptz AS started_at,
    i.ended_at,
    i.confirmed_until::timestamptz AS confirmed_until,
    ended_by_name(i.ended_by)::text AS ended_by,
    i.events::bigint AS events
FROM (
    SELECT m.measure, o.started_at, o.ended_at, o.confirmed_until, o.ended_by, o.events
    FROM unnest('{r,t,v}'::"char" []) AS m (measure)
    LEFT JOIN contact_states AS s ON s.contact_id = @contact_id
    CROSS JOIN LATERAL (
        SELECT i.started_at, i.ended_at, i.confirmed_until, i.ended_by, i.events
        FROM intervals AS i
        WHERE
            i.contact_id = @contact_id AND i.measure = m.measure
            AND i.started_at >= @range_start AND i.started_at < @range_end
            AND i.started_at <= coalesce(s.checkpoint, 'infinity')
        UNION ALL
        -- Of one measure, what contains range_start is the last that started before it.
        SELECT *
        FROM (
            SELECT i.started_at, i.ended_at, i.confirmed_until, i.ended_by, i.events
            FROM intervals AS i
            WHERE
                i.contact_id = @contact_id AND i.measure = m.measure
                AND i.started_at < @range_start AND i.started_at <= coalesce(s.checkpoint, 'infinity')
            ORDER BY i.started_at DESC
            LIMIT 1
        ) AS last
        WHERE last.ended_at > @range_start
    ) AS o
    UNION ALL
    SELECT f.measure, f.started_at, f.ended_at, f.confirmed_until, f.ended_by, f.events
    FROM fresh_intervals(ARRAY[@contact_id::integer], sqlc.arg(now)::timestamptz) AS f
    WHERE
        f.started_at < @range_end
        AND (f.ended_at > @range_start OR f.ended_at IS NULL OR f.started_at >= @range_start)
) AS i
ORDER BY i.started_at, i.measure DESC;
