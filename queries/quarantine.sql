-- name: AddQuarantine :exec
-- Written again without harm when it is not known whether it was committed: the id is the caller's.
INSERT INTO quarantine (id, received_at, gateway, reason, body)
VALUES (@id, @received_at, @gateway, @reason, @body)
ON CONFLICT DO NOTHING;

-- name: ListQuarantine :many
SELECT id, received_at, gateway, reason, length(body)::integer AS bytes
FROM quarantine
WHERE (received_at, id) > (@after_received_at::timestamptz, @after_id::uuid)
ORDER BY received_at, id
LIMIT @max_rows;

-- name: GetQuarantine :one
SELECT id, received_at, gateway, reason, body FROM quarantine WHERE id = @id;

-- name: DropQuarantine :execrows
DELETE FROM quarantine WHERE id = @id;
