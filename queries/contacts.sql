-- name: AddInstances :exec
INSERT INTO instances (name)
SELECT unnest(@names::text []) AS name
ORDER BY name
ON CONFLICT DO NOTHING;

-- name: ResolveInstances :many
-- Finds the ids of instances and adds those that are new, as resolve_contacts does for contacts.
WITH wanted AS MATERIALIZED (
    SELECT
        k.name,
        (SELECT i.id FROM instances AS i WHERE i.name = k.name LIMIT 1) AS id
    FROM (SELECT unnest(@names::text []) AS name) AS k
),

added AS (
    INSERT INTO instances (name)
    SELECT w.name
    FROM wanted AS w
    WHERE w.id IS NULL
    ORDER BY w.name
    LIMIT @max_new
    ON CONFLICT DO NOTHING
    RETURNING id, name
)

SELECT
    w.name::text AS name,
    coalesce(w.id, a.id, 0)::integer AS id,
    (a.id IS NOT NULL)::boolean AS added,
    (SELECT database_identity())::bigint AS database
FROM wanted AS w
LEFT JOIN added AS a ON a.name = w.name;

-- name: ResolveContacts :many
SELECT
    place::integer AS place,
    id::integer AS id,
    added::boolean AS added,
    actual_database::bigint AS actual_database
FROM resolve_contacts(@instance_ids::integer [], @phones::text [], @max_new::integer, @database::bigint);

-- name: NewestContacts :many
SELECT c.id, c.instance_id, i.name AS instance, c.phone, (SELECT database_identity())::bigint AS database
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE c.id < @before_id
ORDER BY c.id DESC
LIMIT @max_rows;

-- name: FindInstance :one
SELECT id FROM instances WHERE name = @name;

-- name: FindContact :one
SELECT c.id
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE i.name = @instance AND c.phone = @phone;

-- name: ListInstances :many
-- First and last events come from contact_states, and of contacts with newer events from the events.
WITH unsettled AS MATERIALIZED (
    SELECT
        c.instance_id,
        (SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = c.id) AS first_event_at,
        (SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.id) AS last_event_at
    FROM unsettled_contacts AS u
    INNER JOIN contacts AS c ON c.id = u.contact_id
)

SELECT
    i.name,
    min(s.first_event_at)::timestamptz AS first_event_at,
    max(s.last_event_at)::timestamptz AS last_event_at
FROM (
    SELECT instance_id, first_event_at, last_event_at
    FROM contact_states
    WHERE status IS NOT NULL AND checkpoint IS NULL
    UNION ALL
    SELECT * FROM unsettled
) AS s
INNER JOIN instances AS i ON i.id = s.instance_id
WHERE i.name > @after_name AND (sqlc.narg(visible)::text [] IS NULL OR i.name = ANY(sqlc.narg(visible)::text []))
GROUP BY i.name
HAVING max(s.last_event_at) IS NOT NULL
ORDER BY i.name
LIMIT @max_rows;

-- name: GetContact :one
SELECT
    c.phone,
    s.status::smallint AS status,
    s.since::timestamptz AS since,
    s.first_event_at::timestamptz AS first_event_at,
    s.last_event_at::timestamptz AS last_event_at
FROM contacts AS c
CROSS JOIN LATERAL contact_status(ARRAY[c.id], @now) AS s
WHERE c.id = @contact_id;

-- name: ListContacts :many
-- Contacts in the order of their phones. Most have no newer events, and then contact_states suffices.
WITH unsettled AS MATERIALIZED (
    SELECT
        s.contact_id::integer AS contact_id,
        s.status::smallint AS status,
        s.since::timestamptz AS since,
        s.first_event_at::timestamptz AS first_event_at,
        s.last_event_at::timestamptz AS last_event_at
    FROM
        contact_status(
            ARRAY(
                SELECT c.id
                FROM unsettled_contacts AS u
                INNER JOIN contacts AS c ON c.id = u.contact_id
                WHERE c.instance_id = @instance_id
            ),
            @now
        ) AS s
)

SELECT
    c.phone,
    coalesce(u.status, s.status)::smallint AS status,
    coalesce(u.since, s.since)::timestamptz AS since,
    coalesce(u.first_event_at, s.first_event_at)::timestamptz AS first_event_at,
    coalesce(u.last_event_at, s.last_event_at)::timestamptz AS last_event_at
FROM contacts AS c
LEFT JOIN unsettled AS u ON u.contact_id = c.id
LEFT JOIN LATERAL settled_status(c.id, @now) AS s ON u.contact_id IS NULL
WHERE
    c.instance_id = @instance_id
    AND c.phone > @after_phone
    AND strpos(c.phone, @search) > 0
    AND coalesce(u.status, s.status)::smallint = ANY(@statuses::smallint [])
ORDER BY c.phone
LIMIT @max_rows;

-- name: ListPresentContacts :many
-- The same for statuses other than UNAVAILABLE: only contacts that have fresh intervals can have one.
SELECT
    c.phone,
    s.status::smallint AS status,
    s.since::timestamptz AS since,
    s.first_event_at::timestamptz AS first_event_at,
    s.last_event_at::timestamptz AS last_event_at
FROM (
    SELECT
        ARRAY(
            SELECT k.id
            FROM fresh_contacts AS f
            INNER JOIN contacts AS k ON k.id = f.contact_id
            WHERE k.instance_id = @instance_id AND k.phone > @after_phone AND strpos(k.phone, @search) > 0
        )::integer [] AS ids
) AS f
CROSS JOIN LATERAL contact_status(f.ids, @now) AS s
INNER JOIN contacts AS c ON c.id = s.contact_id
WHERE s.status::smallint = ANY(@statuses::smallint [])
ORDER BY c.phone
LIMIT @max_rows;

-- name: AllContacts :many
SELECT c.id, i.name AS instance, c.phone
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE (i.name = @instance OR @instance = '') AND (i.name, c.phone) > (@after_instance::text, @after_phone::text)
ORDER BY i.name, c.phone
LIMIT @max_rows;
