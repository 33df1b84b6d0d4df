-- name: AdvanceRollups :exec
SELECT advance_rollups(@moment);

-- name: Clock :one
-- The server's own time.
SELECT clock_timestamp()::timestamptz AS now;

-- name: EventWriters :one
-- How many transactions that began before a moment may write events.
SELECT count(*)
FROM pg_catalog.pg_locks AS l
INNER JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE
    l.locktype = 'relation'
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    AND l.relation = 'events'::regclass
    AND l.mode = 'RowExclusiveLock'
    AND coalesce(a.xact_start, '-infinity') < sqlc.arg(moment)::timestamptz;

-- name: TryRollupLock :one
SELECT pg_try_advisory_xact_lock(hashtext('presencelog.rollup'))::boolean AS locked;

-- name: LockRollups :exec
-- Until the transaction ends nobody marks anything stale.
SELECT FROM rollup_state FOR UPDATE;

-- name: NextStale :one
-- The newest ended slots to roll up, at most so long.
SELECT
    instance_id,
    greatest(from_slot, until_slot - @at_most::interval)::timestamptz AS from_slot,
    until_slot
FROM rollup_stale
ORDER BY until_slot DESC, instance_id
LIMIT 1;

-- name: RollUp :exec
SELECT roll_up(@instance_id::integer, @from_slot::timestamptz, @until_slot::timestamptz, @now::timestamptz);

-- name: StaleMicros :one
-- How much is to be rolled up, in microseconds, summed over the instances.
SELECT coalesce(sum(micros_of(until_slot - from_slot)), 0)::bigint AS micros
FROM rollup_stale;

-- name: MarkAllStale :exec
-- instance_id NULL: of all instances.
SELECT mark_all_stale(sqlc.narg(instance_id)::integer);

-- name: NotRolledUp :many
SELECT from_slot::timestamptz AS from_slot, until_slot::timestamptz AS until_slot
FROM not_rolled_up(@instance_id::integer, @range_start::timestamptz)
ORDER BY from_slot;

-- name: RolledSums :many
-- What is rolled up of the slots [range_start, range_end).
SELECT r.slot, r.measure, r.micros, r.confirmed_micros, r.starts, r.parts
FROM current_rollups AS r
WHERE
    r.instance_id = @instance_id
    AND r.slot >= @range_start AND r.slot < @range_end;

-- name: RolledSlots :many
-- Its sums alone, of one measure.
SELECT r.slot, sum(r.micros)::bigint AS micros, sum(r.confirmed_micros)::bigint AS confirmed_micros, sum(r.starts)::bigint AS starts
FROM current_rollups AS r
WHERE
    r.instance_id = @instance_id
    AND r.measure = @measure
    AND r.slot >= @range_start AND r.slot < @range_end
GROUP BY r.slot;

-- name: RolledParts :many
-- Its parts alone, of one measure.
SELECT r.parts
FROM current_rollups AS r
WHERE
    r.instance_id = @instance_id
    AND r.measure = @measure
    AND r.slot >= @range_start AND r.slot < @range_end;

-- name: InstanceStretches :many
SELECT
    contact_id::integer AS contact_id,
    measure::text AS measure,
    started_at::timestamptz AS started_at,
    ended_at::timestamptz AS ended_at,
    until::timestamptz AS until,
    confirmed_until::timestamptz AS confirmed_until
FROM instance_stretches(@instance_id, @range_start, @range_end, @now);

-- name: ContactStretches :many
SELECT
    measure::text AS measure,
    started_at::timestamptz AS started_at,
    until::timestamptz AS until,
    confirmed_until::timestamptz AS confirmed_until
FROM stretches(@contact_id, @range_start, @range_end, @now);

-- name: PhonesOf :many
SELECT id, phone
FROM contacts
WHERE id = ANY(@contact_ids::integer []);
