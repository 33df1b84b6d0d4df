-- name: Horizons :many
-- Where the events and the intervals of each instance are to begin; NULL: they are kept forever. Of two clocks, the one that is
-- behind counts: one that is ahead would delete too much.
SELECT
    k.instance_id,
    k.name,
    CASE
        WHEN k.retention < '365000 days' THEN date_trunc('day', k.now - k.retention, 'UTC')
    END::timestamptz AS events_from,
    CASE
        WHEN k.interval_retention < '365000 days' THEN date_trunc('day', k.now - k.interval_retention, 'UTC')
    END::timestamptz AS intervals_from
FROM (
    SELECT
        i.id AS instance_id,
        i.name,
        least(@now::timestamptz, clock_timestamp()) AS now,
        coalesce(i.retention, s.retention) AS retention,
        coalesce(i.interval_retention, s.interval_retention) AS interval_retention
    FROM instances AS i
    CROSS JOIN settings AS s
) AS k
ORDER BY k.name;

-- name: ListPartitions :many
-- The months of events, oldest first. A statement that drops one cannot have parameters, so the query returns it complete.
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

-- name: LimitLockWait :exec
-- Within the transaction: a transaction that waits for this lock on events makes all others wait behind it.
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

-- name: InstancesWithOldEvents :many
-- Those of the instances that have events before their horizon. Each contact is looked up by the key: counting would read
-- months in which these instances have nothing.
SELECT h.instance_id::integer
FROM (SELECT unnest(@instance_ids::integer []) AS instance_id, unnest(@horizons::timestamptz []) AS horizon) AS h
WHERE
    EXISTS (
        SELECT
        FROM contacts AS c
        CROSS JOIN LATERAL (SELECT FROM events AS e WHERE e.contact_id = c.id AND e.received_at < h.horizon LIMIT 1) AS e
        WHERE c.instance_id = h.instance_id
    );

-- name: InstancesWithOldIntervals :many
-- Those of the instances that have intervals before their horizon.
SELECT h.instance_id::integer
FROM (SELECT unnest(@instance_ids::integer []) AS instance_id, unnest(@horizons::timestamptz []) AS horizon) AS h
WHERE EXISTS (SELECT FROM interval_sums AS s WHERE s.instance_id = h.instance_id AND s.hour < h.horizon AND s.starts > 0);

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

-- name: CountIntervalsBefore :one
SELECT count(*) FROM intervals WHERE instance_id = @instance_id AND started_at < @before;

-- name: DeleteIntervals :execrows
-- Some of an instance's intervals that started before. No index begins with the instance; the first hour in which one started
-- keeps this from reading again what the last call deleted.
DELETE FROM intervals
USING (
    SELECT i.contact_id, i.measure, i.started_at
    FROM intervals AS i
    CROSS JOIN (SELECT FROM interval_progress FOR UPDATE) AS locked
    WHERE
        i.instance_id = @instance_id AND i.started_at < @before
        AND i.started_at >= (SELECT min(s.hour) FROM interval_sums AS s WHERE s.instance_id = @instance_id AND s.starts > 0)
    LIMIT @max_rows
) AS old
WHERE
    intervals.contact_id = old.contact_id AND intervals.measure = old.measure AND intervals.started_at = old.started_at;

-- name: CutIntervals :one
SELECT cut_intervals(@instance_id::integer, @horizon::timestamptz, @now::timestamptz)::boolean AS cut;
