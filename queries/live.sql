-- name: RecentEvents :many
-- In the order in which a contact's events count.
SELECT e.contact_id::integer AS contact_id, e.received_at::timestamptz AS received_at, e.seq::smallint AS seq, e.status::smallint AS status
FROM recent_events(@after::timestamptz) AS e
WHERE e.received_at <= @until::timestamptz
ORDER BY e.received_at, e.seq;

-- name: CountRecentEvents :many
-- How many there are in each tenth of a second up to a moment, numbered from 1, and the sum of their times, which differs if
-- they are not the same ones.
SELECT
    ((micros_between(@after::timestamptz, e.received_at) + 99999) / 100000)::bigint AS bucket,
    count(*) AS events,
    sum(micros_between(@after::timestamptz, e.received_at))::bigint AS total
FROM recent_events(@after::timestamptz) AS e
WHERE e.received_at <= @until::timestamptz
GROUP BY 1;

-- name: LastRecentEvents :many
-- The last event of each contact that has one after a moment.
SELECT DISTINCT ON (e.contact_id)
    e.contact_id::integer AS contact_id, e.received_at::timestamptz AS received_at, e.seq::smallint AS seq, e.status::smallint AS status
FROM recent_events(@after::timestamptz) AS e
ORDER BY e.contact_id, e.received_at DESC, e.seq DESC;

-- name: ContactNames :many
SELECT c.id, i.name AS instance, c.phone
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE c.id = ANY(@ids::integer []);

-- name: CurrentStates :many
-- The last event of each of the contacts, and since when it has the status that the event set or renewed. LIMIT makes the
-- planner look up one contact after the other.
SELECT
    k.instance::text AS instance,
    k.phone::text AS phone,
    last.status::smallint AS status,
    last.received_at::timestamptz AS received_at,
    last.seq::smallint AS seq,
    s.started_at::timestamptz AS since
FROM (SELECT unnest(@instances::text []) AS instance, unnest(@phones::text []) AS phone) AS k
CROSS JOIN LATERAL (
    SELECT c.id
    FROM contacts AS c
    WHERE c.instance_id = (SELECT i.id FROM instances AS i WHERE i.name = k.instance) AND c.phone = k.phone
    LIMIT 1
) AS c
CROSS JOIN LATERAL (
    SELECT e.status, e.received_at, e.seq
    FROM events AS e
    WHERE e.contact_id = c.id
    ORDER BY e.received_at DESC, e.seq DESC
    LIMIT 1
) AS last
CROSS JOIN LATERAL spans(c.id, last.received_at, 'infinity', last.received_at) AS s
WHERE s.ended_at IS NULL;

-- name: LiveTimeouts :many
-- The timeouts in force in instances that have some of their own, in microseconds; with an empty name those of all others.
SELECT
    t.instance::text AS instance,
    (extract(EPOCH FROM t.typing) * 1000000)::bigint AS typing,
    (extract(EPOCH FROM t.recording) * 1000000)::bigint AS recording,
    (extract(EPOCH FROM t.presence) * 1000000)::bigint AS presence
FROM (
    SELECT '' AS instance, typing_timeout AS typing, recording_timeout AS recording, presence_timeout AS presence
    FROM settings
    UNION ALL
    SELECT i.name, w.typing, w.recording, w.presence
    FROM instances AS i
    INNER JOIN timeouts AS w ON w.instance_id = i.id
    WHERE i.typing_timeout IS NOT NULL OR i.recording_timeout IS NOT NULL OR i.presence_timeout IS NOT NULL
) AS t;

-- name: NotifyLive :execrows
-- Tells other processes that there are new events, if one of them listens. This process listens too, and knows its own hints
-- by their payload.
SELECT pg_notify('presencelog_live', (@own_pid::integer)::text)
WHERE EXISTS (
    SELECT FROM pg_catalog.pg_stat_activity
    WHERE application_name = 'presencelog live' AND datname = current_database() AND pid <> @own_pid::integer
);
