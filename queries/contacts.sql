-- name: AddInstances :exec
INSERT INTO instances (name)
SELECT unnest(@names::text []) AS name
ORDER BY name
ON CONFLICT DO NOTHING;

-- name: AddContacts :many
-- Returns those that were not there. In one order everywhere, so that two writers who add the same contacts wait for each
-- other instead of deadlocking.
INSERT INTO contacts (instance_id, phone)
SELECT i.id, k.phone
FROM (SELECT unnest(@instances::text []) AS instance, unnest(@phones::text []) AS phone) AS k
INNER JOIN instances AS i ON i.name = k.instance
ORDER BY i.id, k.phone
ON CONFLICT DO NOTHING
RETURNING id, (SELECT i.name FROM instances AS i WHERE i.id = instance_id) AS instance, phone;

-- name: FindContacts :many
-- One by one along the index: a plan that was made while there were few contacts would read all of them for each.
SELECT c.id, k.instance::text AS instance, k.phone::text AS phone
FROM (SELECT unnest(@instances::text []) AS instance, unnest(@phones::text []) AS phone) AS k
CROSS JOIN LATERAL (
    SELECT c.id
    FROM contacts AS c
    WHERE c.instance_id = (SELECT i.id FROM instances AS i WHERE i.name = k.instance) AND c.phone = k.phone
    LIMIT 1
) AS c;

-- name: FindInstance :one
SELECT id FROM instances WHERE name = @name;

-- name: FindContact :one
SELECT c.id
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE i.name = @instance AND c.phone = @phone;

-- name: ListInstances :many
SELECT i.name, heard.first_at::timestamptz AS first_event_at, heard.last_at::timestamptz AS last_event_at
FROM instances AS i
CROSS JOIN LATERAL (
    SELECT
        min((SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = c.id)) AS first_at,
        max((SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.id)) AS last_at
    FROM contacts AS c
    WHERE c.instance_id = i.id
) AS heard
WHERE i.name > @after_name AND heard.last_at IS NOT NULL
ORDER BY i.name
LIMIT @max_rows;

-- name: GetContact :one
SELECT
    c.phone,
    s.status::smallint AS status,
    s.started_at::timestamptz AS since,
    (SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = c.id)::timestamptz AS first_event_at,
    (SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.id)::timestamptz AS last_event_at
FROM contacts AS c
CROSS JOIN LATERAL spans(c.id, 'infinity', 'infinity', @now) AS s
WHERE c.id = @contact_id;

-- name: ListContacts :many
-- Contacts in the order of their phones, from all that the instance ever heard of.
SELECT
    c.phone,
    s.status::smallint AS status,
    s.started_at::timestamptz AS since,
    (SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = c.id)::timestamptz AS first_event_at,
    (SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.id)::timestamptz AS last_event_at
FROM contacts AS c
CROSS JOIN LATERAL spans(c.id, 'infinity', 'infinity', @now) AS s
WHERE
    c.instance_id = @instance_id
    AND c.phone > @after_phone
    AND strpos(c.phone, @search) > 0
    AND s.status = ANY(@statuses::smallint [])
ORDER BY c.phone
LIMIT @max_rows;

-- name: ListPresentContacts :many
-- The same for statuses that are not UNAVAILABLE. Who has one was heard of within the longest time that it lasts,
-- so only contacts with an event since heard_since are looked at, and only whose last event has become that status.
-- MATERIALIZED and LIMIT 1 keep the planner from reckoning spans first, and from reading all contacts.
WITH present AS MATERIALIZED (
    SELECT c.id, c.phone
    FROM heard_between(@heard_since, 'infinity') AS heard
    CROSS JOIN LATERAL (
        SELECT k.id, k.instance_id, k.phone
        FROM contacts AS k
        WHERE k.id = heard.contact_id
        LIMIT 1
    ) AS c
    INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
    CROSS JOIN LATERAL (
        SELECT e.status, e.received_at
        FROM events AS e
        WHERE e.contact_id = heard.contact_id
        ORDER BY e.received_at DESC, e.seq DESC
        LIMIT 1
    ) AS last
    WHERE
        c.instance_id = @instance_id::integer
        AND c.phone > @after_phone::text
        AND strpos(c.phone, @search) > 0
        AND status_before(
            sqlc.arg(now)::timestamptz + interval '1 microsecond', last.status, last.received_at, t
        ) = ANY(@statuses::smallint [])
)

SELECT
    p.phone,
    s.status::smallint AS status,
    s.started_at::timestamptz AS since,
    (SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = p.id)::timestamptz AS first_event_at,
    (SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = p.id)::timestamptz AS last_event_at
FROM present AS p
CROSS JOIN LATERAL spans(p.id, 'infinity', 'infinity', @now) AS s
ORDER BY p.phone
LIMIT @max_rows;

-- name: AllContacts :many
SELECT c.id, i.name AS instance, c.phone
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE (i.name = @instance OR @instance = '') AND (i.name, c.phone) > (@after_instance::text, @after_phone::text)
ORDER BY i.name, c.phone
LIMIT @max_rows;
