-- name: LoosePartitions :many
-- Partitions of events whose key takes over 48 bytes a row. Rows of one contact arrive apart in time, which leaves the
-- pages of the index half empty; built anew it takes about 40. The statements cannot have parameters, so they come made.
SELECT
    t.relname::text AS partition,
    format('REINDEX INDEX CONCURRENTLY %I', i.relname)::text AS reindex_statement,
    format('VACUUM (ANALYZE) %I', t.relname)::text AS vacuum_statement
FROM pg_partition_tree('events') AS p
INNER JOIN pg_catalog.pg_class AS t ON t.oid = p.relid
INNER JOIN pg_catalog.pg_index AS x ON x.indrelid = t.oid AND x.indisprimary
INNER JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
WHERE
    p.isleaf
    AND t.relname < @before_partition
    AND pg_relation_size(i.oid) > 8 * 1024 * 1024
    AND pg_relation_size(i.oid) > 48 * t.reltuples
ORDER BY t.relname;

-- name: AnalyzeEvents :exec
ANALYZE events;

-- name: TryUpkeepLock :one
-- Held until the transaction ends, which a pooler between us and the server respects, unlike a session's lock.
SELECT pg_try_advisory_xact_lock(hashtext('presencelog.upkeep'))::boolean AS locked;
