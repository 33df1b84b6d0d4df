-- name: AddRejected :exec
-- May be repeated when it is not known whether it was committed: ids are the caller's.
INSERT INTO rejected_payloads (id, received_at, gateway, reason, bytes, body)
SELECT
    unnest(@ids::uuid []),
    unnest(@received_ats::timestamptz []),
    unnest(@gateways::text []),
    unnest(@reasons::text []),
    unnest(@bytes::integer []),
    unnest(@bodies::bytea [])
ON CONFLICT DO NOTHING;

-- name: RejectedBytes :one
-- Their size in bytes, with an allowance for each row.
SELECT coalesce(sum(200 + length(reason) + coalesce(length(body), 0)), 0)::bigint FROM rejected_payloads;

-- name: TrimRejected :execrows
-- Deletes the oldest of those that the newest max_bytes do not include.
DELETE FROM rejected_payloads
WHERE
    id IN (
        SELECT r.id
        FROM (
            SELECT
                p.id,
                sum(200 + length(p.reason) + coalesce(length(p.body), 0))
                    OVER (ORDER BY p.received_at DESC, p.id DESC ROWS UNBOUNDED PRECEDING) AS bytes
            FROM rejected_payloads AS p
        ) AS r
        WHERE r.bytes > @max_bytes::bigint
    );

-- name: ListRejected :many
SELECT id, received_at, gateway, reason, bytes, (body IS NOT NULL)::boolean AS kept
FROM rejected_payloads
WHERE (received_at, id) > (@after_received_at::timestamptz, @after_id::uuid)
ORDER BY received_at, id
LIMIT @max_rows;

-- name: GetRejected :one
SELECT id, received_at, gateway, reason, bytes, body FROM rejected_payloads WHERE id = @id;

-- name: DropRejected :execrows
DELETE FROM rejected_payloads WHERE id = @id;

-- name: DropRejectedBefore :execrows
DELETE FROM rejected_payloads WHERE received_at < @before;
