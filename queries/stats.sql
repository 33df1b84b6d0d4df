-- name: Stats :one
-- Sizes are bytes on disk of the events with all that belongs to them: indexes, free space maps and so on.
SELECT
    (SELECT count(*) FROM instances) AS instances,
    (SELECT count(*) FROM contacts) AS contacts,
    (SELECT count(*) FROM events) AS events,
    (
        SELECT coalesce(sum(pg_table_size(relid)), 0)::bigint FROM pg_partition_tree('events')
    ) AS table_bytes,
    (
        SELECT coalesce(sum(pg_indexes_size(relid)), 0)::bigint FROM pg_partition_tree('events')
    ) AS index_bytes;
