-- name: Horizons :many
-- Where the events and the rollups of each instance are to begin; NULL: they are kept for ever.
SELECT
    k.instance_id,
    k.name,
    CASE
        WHEN k.retention < '365000 days' THEN date_trunc('day', k.now - k.retention, 'UTC')
    END::timestamptz AS events_from,
    CASE
        WHEN k.rollup_retention < '365000 days' THEN date_trunc('day', k.now - k.rollup_retention, 'UTC')
    END::timestamptz AS rollups_from
FROM (
    SELECT
        i.id AS instance_id,
        i.name,
        @now::timestamptz AS now,
        coalesce(i.retention, s.retention) AS retention,
        coalesce(i.rollup_retention, s.rollup_retention) AS rollup_retention
    FROM instances AS i
    CROSS JOIN settings AS s
) AS k
ORDER BY k.name;

-- name: QuarantineHorizon :one
SELECT CASE WHEN retention < '365000 days' THEN date_trunc('day', sqlc.arg(now)::timestamptz - retention, 'UTC') END::timestamptz AS quarantine_from
FROM settings;

-- name: ListPartitions :many
-- The months of events, oldest first. A statement that drops one cannot have parameters, so it comes made.
SELECT
    t.relname::text AS partition,
    (m.month AT TIME ZONE 'UTC')::timestamptz AS starts_at,
    ((m.month + interval '1 month') AT TIME ZONE 'UTC')::timestamptz AS ends_at,
    format('DROP TABLE %I', t.relname)::text AS drop_statement
FROM pg_partition_tree('events') AS p
INNER JOIN pg_catalog.pg_class AS t ON t.oid = p.relid
CROSS JOIN LATERAL (SELECT to_date(right(t.relname, 7), 'YYYY_MM')::timestamp AS month) AS m
WHERE p.isleaf
ORDER BY m.month;

-- name: BoundLockWait :exec
-- Within the transaction: whoever waits for a lock on events lets nobody else in meanwhile.
SELECT set_config('lock_timeout', @timeout::text, true);

-- name: LockEvents :exec
LOCK TABLE ONLY events IN ACCESS EXCLUSIVE MODE;

-- name: CountEventsBefore :many
-- How many events in [range_start, range_end) each of these instances has that are older than its horizon.
SELECT c.instance_id, count(*) AS events, min(e.received_at)::timestamptz AS oldest_at
FROM events AS e
INNER JOIN contacts AS c ON c.id = e.contact_id
INNER JOIN (
    SELECT unnest(@instance_ids::integer []) AS instance_id, unnest(@horizons::timestamptz []) AS horizon
) AS h ON h.instance_id = c.instance_id
WHERE e.received_at >= @range_start AND e.received_at < @range_end AND e.received_at < h.horizon
GROUP BY c.instance_id;

-- name: InstanceContacts :many
SELECT id FROM contacts WHERE instance_id = @instance_id ORDER BY id;

-- name: DeleteEvents :one
-- Some of these contacts' events in [range_start, range_end), which lies in one partition: there ctid names a row.
WITH gone AS (
    DELETE FROM events
    WHERE
        events.ctid = ANY(ARRAY(
            SELECT e.ctid
            FROM (SELECT unnest(@contact_ids::integer []) AS id) AS c
            CROSS JOIN LATERAL (
                SELECT o.ctid
                FROM events AS o
                WHERE o.contact_id = c.id AND o.received_at >= @range_start AND o.received_at < @range_end
                ORDER BY o.received_at, o.seq
                LIMIT @max_rows::integer
            ) AS e
            LIMIT @max_rows
        ))
        AND events.received_at >= @range_start AND events.received_at < @range_end
    RETURNING received_at
)

SELECT count(*) AS events, min(received_at)::timestamptz AS oldest_at FROM gone;

-- name: CountRollupsBefore :one
SELECT count(*) FROM rollups WHERE instance_id = @instance_id AND slot < @before;

-- name: DeleteRollups :execrows
DELETE FROM rollups
WHERE
    rollups.ctid = ANY(ARRAY(
        SELECT r.ctid
        FROM rollups AS r
        WHERE r.instance_id = @instance_id AND r.slot < @before
        ORDER BY r.slot
        LIMIT @max_rows
    ));

-- name: CountQuarantineBefore :one
SELECT count(*) FROM quarantine WHERE received_at < @before;

-- name: DeleteQuarantine :execrows
DELETE FROM quarantine
WHERE
    id = ANY(ARRAY(
        SELECT q.id
        FROM quarantine AS q
        WHERE q.received_at < @before
        ORDER BY q.received_at, q.id
        LIMIT @max_rows
    ));

-- name: ShareRollups :exec
-- Keeps others from rolling up until the transaction ends, as mark_stale does.
SELECT FROM rollup_state FOR SHARE;

-- name: RaiseEventsFrom :execrows
-- Leaves an instance alone whose events were once kept from later on: what is rolled up before that cannot be made anew.
UPDATE instances SET events_from = @horizon WHERE id = @instance_id AND events_from <= @horizon;

-- name: CutRollups :exec
-- Cuts stretches that lie across the horizon. What was rolled up of them before it stays, as if they had ended there; what
-- follows it is to be made anew of the events that are left.
WITH across AS (
    DELETE FROM rollups
    WHERE instance_id = @instance_id AND slot < @horizon AND ended_slot >= @horizon
    RETURNING *
),

kept AS (
    INSERT INTO rollups (instance_id, slot, ended_slot, measure, micros, confirmed_micros, starts, parts)
    SELECT
        instance_id,
        slot,
        sqlc.arg(horizon)::timestamptz - interval '15 min',
        measure,
        sum(micros),
        sum(confirmed_micros),
        sum(starts),
        string_agg(parts, '')
    FROM across
    GROUP BY instance_id, slot, measure
    ON CONFLICT (instance_id, slot, ended_slot, measure) DO UPDATE SET
        micros = rollups.micros + excluded.micros,
        confirmed_micros = rollups.confirmed_micros + excluded.confirmed_micros,
        starts = rollups.starts + excluded.starts,
        parts = rollups.parts || excluded.parts
)

INSERT INTO rollup_stale (instance_id, from_slot, until_slot)
SELECT @instance_id, @horizon, max(ended_slot) + interval '15 min'
FROM across
HAVING count(*) > 0;

-- name: ForgetStale :exec
-- Rollups that were to be made anew of events that now go stay as they are.
WITH cut AS (
    DELETE FROM rollup_stale
    WHERE instance_id = @instance_id AND from_slot < @horizon
    RETURNING until_slot
)

INSERT INTO rollup_stale (instance_id, from_slot, until_slot)
SELECT @instance_id, @horizon, until_slot
FROM cut
WHERE until_slot > @horizon;
