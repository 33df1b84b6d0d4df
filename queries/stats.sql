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
    ) AS index_bytes,
    (
        SELECT (
            coalesce(sum(pg_total_relation_size(relid)), 0) + pg_total_relation_size('contact_states')
            + pg_total_relation_size('interval_sums')
        )::bigint
        FROM pg_partition_tree('intervals')
    ) AS interval_bytes,
    (SELECT count(*) FROM contact_states WHERE checkpoint IS NOT NULL) AS late_contacts;
