-- name: AddHook :one
INSERT INTO hooks (url, secret, kinds, instances, private)
VALUES (@url, @secret, @kinds, @instances, @private)
RETURNING id;

-- name: ListHooks :many
SELECT
    h.*,
    (SELECT count(*) FROM hook_deliveries AS d WHERE d.hook_id = h.id AND d.delivered_at IS NULL) AS pending
FROM hooks AS h
ORDER BY h.id;

-- name: RemoveHook :execrows
DELETE FROM hooks WHERE id = @id;

-- name: HoldHookLease :one
-- Takes or renews the lease; no row: another process has it.
UPDATE hook_lease
SET holder = @holder, expires_at = now() + interval '15 s'
WHERE holder = @holder OR expires_at < now()
RETURNING queued_until;

-- name: DropHookLease :exec
UPDATE hook_lease SET holder = NULL, expires_at = '-infinity' WHERE holder = @holder;

-- name: SetHooksQueued :exec
-- Not in the future, even if the holder's clock is ahead: changes up to then would be lost.
UPDATE hook_lease SET queued_until = greatest(queued_until, least(@queued_until, now())) WHERE holder = @holder;

-- name: QueueDeliveries :exec
-- A message that is queued or was sent lately is skipped.
INSERT INTO hook_deliveries (hook_id, id, body)
SELECT unnest(@hook_ids::integer []), unnest(@ids::text []), unnest(@bodies::text [])
ON CONFLICT DO NOTHING;

-- name: DueDeliveries :many
SELECT id, body, attempts
FROM hook_deliveries
WHERE hook_id = @hook_id AND delivered_at IS NULL AND due_at <= now()
ORDER BY due_at, id
LIMIT @max_rows;

-- name: DeliveriesDone :exec
UPDATE hook_deliveries
SET delivered_at = now(), body = ''
WHERE hook_id = @hook_id AND id = ANY(@ids::text []);

-- name: DeliveryFailed :exec
UPDATE hook_deliveries
SET attempts = attempts + 1, due_at = now() + make_interval(secs => @wait_seconds::float8)
WHERE hook_id = @hook_id AND id = @id;

-- name: HookSucceeded :exec
UPDATE hooks SET failing_since = NULL, last_error = NULL WHERE id = @id AND failing_since IS NOT NULL;

-- name: HookFailed :exec
UPDATE hooks SET failing_since = coalesce(failing_since, now()), last_error = @last_error WHERE id = @id;

-- name: DisableHook :execrows
-- After a day in which nothing was accepted, or at once.
UPDATE hooks
SET disabled_at = now()
WHERE id = @id AND disabled_at IS NULL AND (@at_once::boolean OR failing_since < now() - interval '1 day');

-- name: TrimDeliveries :exec
-- Gives up messages that are a day old, those of disabled hooks, and the oldest beyond a number for each hook; forgets those
-- that were sent an hour ago.
WITH oldest AS MATERIALIZED (
    SELECT
        h.id,
        h.disabled_at,
        (
            SELECT n.created_at
            FROM hook_deliveries AS n
            WHERE n.hook_id = h.id AND n.delivered_at IS NULL
            ORDER BY n.created_at DESC
            OFFSET @most::integer LIMIT 1
        ) AS before
    FROM hooks AS h
),

gone AS (
    DELETE FROM hook_deliveries AS d
    USING oldest AS h
    WHERE
        h.id = d.hook_id
        AND (
            d.delivered_at < now() - interval '1 hour'
            OR d.delivered_at IS NULL AND (
                d.created_at < now() - interval '1 day'
                OR h.disabled_at IS NOT NULL
                OR d.created_at < h.before
            )
        )
    RETURNING d.hook_id, d.delivered_at
)

UPDATE hooks AS h
SET dropped = h.dropped + g.n
FROM (SELECT hook_id, count(*) AS n FROM gone WHERE delivered_at IS NULL GROUP BY hook_id) AS g
WHERE h.id = g.hook_id;

-- name: ChangesSince :many
-- To catch up after a time in which no process has queued messages.
SELECT
    c.instance::text AS instance,
    c.phone::text AS phone,
    c.status::smallint AS status,
    c.previous::smallint AS previous,
    c.since::timestamptz AS since,
    c.last_event_at::timestamptz AS last_event_at
FROM status_changes(@active_since::timestamptz, @since::timestamptz, sqlc.arg(now)::timestamptz) AS c;
