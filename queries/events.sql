-- name: InsertEvents :execrows
-- Takes columns, because one statement for a whole batch is what makes the receiver fast.
-- NULL cannot stand in an array that sqlc types: no_last_seen in last_seens and '' in extras mean NULL.
-- Writes nothing if there are events that come too late to be rolled up in their turn: oldest is the first of them all.
INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
SELECT
    unnest(@contact_ids::integer []),
    unnest(@received_ats::timestamptz []),
    unnest(@seqs::smallint []),
    unnest(@statuses::smallint []),
    nullif(unnest(@last_seens::bigint []), @no_last_seen::bigint),
    nullif(unnest(@extras::text []), '')::json
WHERE (SELECT rolled_until FROM rollup_state) < sqlc.arg(oldest)::timestamptz;

-- name: CopyEvents :copyfrom
INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
VALUES (@contact_id, @received_at, @seq, @status, @last_seen, @extra);

-- name: InsertMissingEvents :execrows
-- The same for a batch of which some may be stored: a row whose key is taken is left out. It waits for a transaction that
-- is about to take the key. Not for every batch, because it writes a third more to the log.
INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
SELECT
    unnest(@contact_ids::integer []),
    unnest(@received_ats::timestamptz []),
    unnest(@seqs::smallint []),
    unnest(@statuses::smallint []),
    nullif(unnest(@last_seens::bigint []), @no_last_seen::bigint),
    nullif(unnest(@extras::text []), '')::json
ON CONFLICT DO NOTHING;

-- name: AvoidSeqScans :exec
-- Within the transaction. A plan that is made while a month is empty would else read all of it for each contact, once it
-- is filled.
SELECT set_config('enable_seqscan', 'off', true);

-- name: AnyStored :one
-- Whether one of the contacts has an event in its range of time, both ends in it. LIMIT keeps the planner from reading all
-- events.
SELECT
    EXISTS (
        SELECT FROM (
            SELECT
                unnest(@contact_ids::integer []) AS contact_id,
                unnest(@first_ats::timestamptz []) AS first_at,
                unnest(@last_ats::timestamptz []) AS last_at
        ) AS k
        CROSS JOIN LATERAL (
            SELECT e.contact_id
            FROM events AS e
            WHERE e.contact_id = k.contact_id AND e.received_at >= k.first_at AND e.received_at <= k.last_at
            LIMIT 1
        ) AS stored
    );

-- name: MergeEvents :execrows
-- Adds those events of a batch that are not stored yet, whatever their seq: an event is stored if one is that has the
-- same contact, received_at, status, last_seen and extra; of n alike in the batch, n are to be stored. The others come
-- after all that has their contact and received_at, in the batch's order.
WITH incoming AS (
    SELECT
        unnest(@contact_ids::integer []) AS contact_id,
        unnest(@received_ats::timestamptz []) AS received_at,
        unnest(@statuses::smallint []) AS status,
        nullif(unnest(@last_seens::bigint []), @no_last_seen::bigint) AS last_seen,
        nullif(unnest(@extras::text []), '') AS extra,
        generate_series(1, cardinality(@contact_ids::integer [])) AS place
),

counted AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY contact_id, received_at, status, last_seen, extra ORDER BY place) AS nth
    FROM incoming
),

missing AS (
    SELECT c.*, stored.last_seq
    FROM counted AS c
    CROSS JOIN LATERAL (
        SELECT
            max(e.seq) AS last_seq,
            count(*) FILTER (
                WHERE e.status = c.status
                AND e.last_seen IS NOT DISTINCT FROM c.last_seen
                AND e.extra::text IS NOT DISTINCT FROM c.extra
            ) AS alike
        FROM events AS e
        WHERE e.contact_id = c.contact_id AND e.received_at = c.received_at
    ) AS stored
    WHERE c.nth > stored.alike
)

INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
SELECT
    contact_id,
    received_at,
    coalesce(last_seq, -1) + row_number() OVER (PARTITION BY contact_id, received_at ORDER BY place),
    status,
    last_seen,
    extra::json
FROM missing
ORDER BY place;

-- name: MarkStale :exec
SELECT mark_stale(@contact_ids::integer [], @received_ats::timestamptz []);

-- name: EventsAscending :many
SELECT e.received_at, e.seq, e.status, e.last_seen, e.extra
FROM events AS e
WHERE
    e.contact_id = @contact_id
    AND e.received_at >= @range_start AND e.received_at < @range_end
    AND (e.received_at, e.seq) > (@after_received_at::timestamptz, @after_seq::smallint)
ORDER BY e.received_at, e.seq
LIMIT @max_rows;

-- name: EventsDescending :many
SELECT e.received_at, e.seq, e.status, e.last_seen, e.extra
FROM events AS e
WHERE
    e.contact_id = @contact_id
    AND e.received_at >= @range_start AND e.received_at < @range_end
    AND (e.received_at, e.seq) < (@before_received_at::timestamptz, @before_seq::smallint)
ORDER BY e.received_at DESC, e.seq DESC
LIMIT @max_rows;

-- name: MakeEventsPartition :exec
SELECT make_events_partition(@month::date);
