-- name: PartitionMonths :many
-- The months of events and intervals, oldest first.
SELECT DISTINCT (to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC')::timestamptz AS month
FROM pg_catalog.pg_inherits AS h
INNER JOIN pg_catalog.pg_class AS c ON c.oid = h.inhrelid
WHERE h.inhparent IN ('events'::regclass, 'intervals'::regclass)
ORDER BY month;
