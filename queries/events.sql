-- name: InsertEvents :one
-- Writes all of the events or none: none if one of them is late (00005_refresh.sql; oldest is the
-- first of all), or if the contact ids are from another database. It takes columns, because one statement for a whole batch
-- is what makes the receiver fast. sqlc has no arrays with NULL; '' stands for it.
WITH checked AS MATERIALIZED (
    SELECT
        (SELECT cutoff FROM interval_progress) < sqlc.arg(oldest)::timestamptz AS in_time,
        database_identity() = sqlc.arg(database)::bigint AS same_database
),

inserted AS (
    INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
    SELECT
        unnest(@contact_ids::integer []),
        unnest(@received_ats::timestamptz []),
        unnest(@seqs::smallint []),
        unnest(@statuses::smallint []),
        nullif(unnest(@last_seens::text []), '')::bigint,
        nullif(unnest(@extras::text []), '')::json
    FROM checked
    WHERE checked.in_time AND checked.same_database
)

SELECT
    in_time::boolean AS in_time,
    same_database::boolean AS same_database
FROM checked;

-- name: CopyEvents :copyfrom
INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
VALUES (@contact_id, @received_at, @seq, @status, @last_seen, @extra);

-- name: InsertMissingEvents :execrows
-- Writes those events whose keys do not exist, or none if the contact ids are from another database. It waits for a
-- transaction that is about to write the same key. Not used for every batch, because it writes a third more WAL.
INSERT INTO events (contact_id, received_at, seq, status, last_seen, extra)
SELECT
    unnest(@contact_ids::integer []),
    unnest(@received_ats::timestamptz []),
    unnest(@seqs::smallint []),
    unnest(@statuses::smallint []),
    nullif(unnest(@last_seens::text []), '')::bigint,
    nullif(unnest(@extras::text []), '')::json
WHERE database_identity() = sqlc.arg(database)::bigint
ON CONFLICT DO NOTHING;

-- name: CountStoredEvents :one
-- How many of the events are stored under their own keys.
SELECT count(*)
FROM (
    SELECT
        unnest(@contact_ids::integer []) AS contact_id,
        unnest(@received_ats::timestamptz []) AS received_at,
        unnest(@seqs::smallint []) AS seq,
        unnest(@statuses::smallint []) AS status,
        nullif(unnest(@last_seens::text []), '')::bigint AS last_seen,
        nullif(unnest(@extras::text []), '') AS extra
) AS k
CROSS JOIN LATERAL (
    SELECT e.status, e.last_seen, e.extra
    FROM events AS e
    WHERE e.contact_id = k.contact_id AND e.received_at = k.received_at AND e.seq = k.seq
    LIMIT 1
) AS e
WHERE e.status = k.status AND e.last_seen IS NOT DISTINCT FROM k.last_seen AND e.extra::text IS NOT DISTINCT FROM k.extra;

-- name: CheckDatabase :execrows
-- One row if the database is the one that contact ids are from, else none.
SELECT WHERE database_identity() = sqlc.arg(database)::bigint;

-- name: DatabaseIdentity :one
SELECT database_identity()::bigint AS database;

-- name: AcceptsWrites :one
SELECT (NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off')::boolean AS accepts;

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
-- Adds those events of a batch that are not stored yet, whatever their seq. Events are equal if contact, received_at, status,
-- last_seen and extra are; of n equal events in the batch, n are stored. New ones get a seq after the stored ones, in the
-- batch's order.
WITH incoming AS (
    SELECT
        unnest(@contact_ids::integer []) AS contact_id,
        unnest(@received_ats::timestamptz []) AS received_at,
        unnest(@statuses::smallint []) AS status,
        nullif(unnest(@last_seens::text []), '')::bigint AS last_seen,
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

-- name: EventPage :many
-- The contact's events in a range after a key, or with descending those before it, backwards. fits is false if the extra of all
-- earlier rows takes max_bytes or more. Then extra is left out: the row only shows that there is more. So a page reads at most
-- one row too many, however large rows are.
SELECT
    p.received_at,
    p.seq,
    p.status,
    p.last_seen,
    CASE WHEN p.bytes_before < @max_bytes::bigint THEN p.extra END::json AS extra,
    (p.bytes_before < @max_bytes)::boolean AS fits
FROM (
    SELECT
        o.*,
        coalesce(
            sum(octet_length(o.extra::text)) OVER (ORDER BY o.place ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0
        )::bigint AS bytes_before
    FROM (
        (
            SELECT e.received_at, e.seq, e.status, e.last_seen, e.extra, row_number() OVER (ORDER BY e.received_at, e.seq) AS place
            FROM events AS e
            WHERE
                NOT @descending::boolean AND e.contact_id = @contact_id
                AND e.received_at >= @range_start AND e.received_at < @range_end
                AND (e.received_at, e.seq) > (@key_received_at::timestamptz, @key_seq::smallint)
            ORDER BY e.received_at, e.seq
            LIMIT @max_rows
        )
        UNION ALL
        (
            SELECT
                e.received_at, e.seq, e.status, e.last_seen, e.extra, row_number() OVER (ORDER BY e.received_at DESC, e.seq DESC) AS place
            FROM events AS e
            WHERE
                @descending AND e.contact_id = @contact_id
                AND e.received_at >= @range_start AND e.received_at < @range_end
                AND (e.received_at, e.seq) < (@key_received_at, @key_seq)
            ORDER BY e.received_at DESC, e.seq DESC
            LIMIT @max_rows
        )
    ) AS o
) AS p
ORDER BY p.place;

-- name: MakePartitions :one
-- Of a month. Returns whether there were none.
SELECT (make_partition('events', @month::date)::integer + make_partition('intervals', @month)::integer > 0)::boolean AS made;

-- name: RenewPlans :exec
SELECT renew_plans();
