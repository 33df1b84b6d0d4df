-- name: NowFresh :many
-- What contacts do now that may be in the chat, or have events that are not settled yet. Only of the latter are events read.
WITH unsettled AS MATERIALIZED (
    SELECT u.contact_id FROM unsettled_contacts AS u
)

SELECT i.name AS instance, c.phone, s.status, s.since, s.last_event_at
FROM (
    SELECT
        s.contact_id::integer AS contact_id,
        s.status::smallint AS status,
        s.since::timestamptz AS since,
        s.last_event_at::timestamptz AS last_event_at
    FROM contact_status(ARRAY(SELECT u.contact_id FROM unsettled AS u), @now) AS s
    UNION ALL
    SELECT k.contact_id, s.status, s.since, s.last_event_at
    FROM contact_states AS k
    CROSS JOIN LATERAL settled_status(k.contact_id, @now) AS s
    WHERE k.visit_started_at IS NOT NULL AND NOT EXISTS (SELECT FROM unsettled AS u WHERE u.contact_id = k.contact_id)
) AS s
INNER JOIN contacts AS c ON c.id = s.contact_id
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE
    (sqlc.narg(visible)::text [] IS NULL OR i.name = ANY(sqlc.narg(visible)::text []))
    AND strpos(c.phone, @search) > 0;

-- name: NowAway :many
-- The other contacts, which are all UNAVAILABLE, in one of the orders since, recent and phone; those after the given one.
WITH fresh AS MATERIALIZED (
    SELECT f.contact_id FROM fresh_contacts AS f
)

SELECT
    i.name AS instance,
    c.phone,
    a.since::timestamptz AS since,
    s.last_event_at::timestamptz AS last_event_at
FROM contact_states AS s
INNER JOIN contacts AS c ON c.id = s.contact_id
INNER JOIN instances AS i ON i.id = s.instance_id
INNER JOIN timeouts AS t ON t.instance_id = s.instance_id
CROSS JOIN LATERAL (
    SELECT CASE s.status WHEN 2 THEN s.since ELSE leaves_at(s.status, s.last_event_at, t) END AS since
) AS a
CROSS JOIN LATERAL (
    SELECT CASE @sort::text WHEN 'phone' THEN '-infinity'::timestamptz WHEN 'recent' THEN s.last_event_at ELSE a.since END AS at
) AS o
WHERE
    s.status IS NOT NULL
    AND NOT EXISTS (SELECT FROM fresh AS f WHERE f.contact_id = s.contact_id)
    AND (sqlc.narg(visible)::text [] IS NULL OR i.name = ANY(sqlc.narg(visible)::text []))
    AND strpos(c.phone, @search) > 0
    AND (
        o.at < @after_at::timestamptz
        OR (o.at = @after_at::timestamptz AND (c.phone, i.name) > (@after_phone::text, @after_instance::text))
    )
ORDER BY o.at DESC, c.phone, i.name
LIMIT @max_rows;

-- name: CountAway :one
-- How many those are. Phones are read only if there is a search.
WITH fresh AS MATERIALIZED (
    SELECT f.contact_id FROM fresh_contacts AS f
)

SELECT count(*)
FROM contact_states AS s
WHERE
    s.status IS NOT NULL
    AND NOT EXISTS (SELECT FROM fresh AS f WHERE f.contact_id = s.contact_id)
    AND (
        sqlc.narg(visible)::text [] IS NULL
        OR s.instance_id IN (SELECT i.id FROM instances AS i WHERE i.name = ANY(sqlc.narg(visible)::text []))
    )
    AND (
        @search::text = ''
        OR EXISTS (SELECT FROM contacts AS c WHERE c.id = s.contact_id AND strpos(c.phone, @search) > 0)
    );

-- name: InstanceNames :many
SELECT name
FROM instances
WHERE sqlc.narg(visible)::text [] IS NULL OR name = ANY(sqlc.narg(visible)::text [])
ORDER BY name
LIMIT @max_rows;
