-- name: BloatedPartitions :many
-- Partitions before a month whose key is bloated: a fifth larger than it needs to be, which is 40 bytes for an event and 29 for
-- an interval. Rows of one contact arrive apart in time, which leaves the pages of the index half empty. Such statements cannot
-- have parameters, so the query returns them complete.
SELECT
    t.relname::text AS partition,
    format('REINDEX INDEX CONCURRENTLY %I', i.relname)::text AS reindex_statement,
    format('VACUUM (ANALYZE) %I', t.relname)::text AS vacuum_statement
FROM (VALUES ('events', 48), ('intervals', 35)) AS parent (name, row_bytes)
CROSS JOIN LATERAL pg_partition_tree(parent.name::regclass) AS p
INNER JOIN pg_catalog.pg_class AS t ON t.oid = p.relid
INNER JOIN pg_catalog.pg_index AS x ON x.indrelid = t.oid AND x.indisprimary
INNER JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
WHERE
    p.isleaf
    AND right(t.relname, 7) < @before_month
    AND pg_relation_size(i.oid) > 8 * 1024 * 1024
    AND pg_relation_size(i.oid) > parent.row_bytes * t.reltuples
ORDER BY t.relname;

-- name: LeftoverIndexes :many
-- What an interrupted REINDEX CONCURRENTLY has left: invalid, but maintained by every insert. Not those that a session is
-- building now.
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I.%I', n.nspname, i.relname)::text AS drop_statement
FROM (VALUES ('events'), ('intervals')) AS parent (name)
CROSS JOIN LATERAL pg_partition_tree(parent.name::regclass) AS p
INNER JOIN pg_catalog.pg_index AS x ON x.indrelid = p.relid AND NOT x.indisvalid
INNER JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = i.relnamespace
WHERE
    p.isleaf
    AND i.relname ~ '_cc(new|old)[0-9]*$'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS b WHERE b.relid = x.indrelid)
ORDER BY i.relname;

-- name: Analyze :exec
-- Also tables that are too small for autovacuum to look at, whose size the planner would guess. But not those that are empty: a
-- plan for a table that is known to be empty reads all of it, and is kept while the table is filled.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT t.name
        FROM unnest('{events,intervals,interval_sums,contact_states,contacts,instances,settings,interval_progress}'::text []) AS t (name)
        WHERE
            pg_relation_size(t.name::regclass) > 0
            OR EXISTS (SELECT FROM pg_partition_tree(t.name::regclass) AS p WHERE p.isleaf AND pg_relation_size(p.relid) > 0)
    LOOP
        EXECUTE format('ANALYZE %I', name);
    END LOOP;
END
$$;

-- name: CompleteTimeIndexes :exec
SELECT complete_time_indexes();

-- name: TryMaintenanceLock :one
-- Until the transaction ends. No row: another process holds it.
SELECT name FROM locks WHERE name = 'maintenance' FOR UPDATE SKIP LOCKED;

-- name: TryProcedures :exec
-- Fails where functions in PL/pgSQL cannot run, which migrations and partitions need.
DO $$ BEGIN NULL; END $$;

-- name: Clock :one
-- The server's own time.
SELECT clock_timestamp()::timestamptz AS now;

-- name: OlderLocks :one
-- How many locks on tables are held by transactions that began before a moment. mode NULL: in any mode.
SELECT count(*)
FROM pg_catalog.pg_locks AS l
INNER JOIN pg_catalog.pg_stat_activity AS a ON a.pid = l.pid
WHERE
    l.locktype = 'relation'
    AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = current_database())
    AND l.relation IN (SELECT to_regclass(t.name) FROM unnest(@tables::text []) AS t (name))
    AND l.mode = coalesce(sqlc.narg(mode)::text, l.mode)
    AND coalesce(a.xact_start, '-infinity') < sqlc.arg(moment)::timestamptz;
