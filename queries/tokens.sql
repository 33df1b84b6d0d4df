-- name: ListTokens :many
SELECT id, name, digest, scopes, instances, created_at, expires_at, revoked_at, last_used_at, last_used_from
FROM tokens
ORDER BY name, created_at, id;

-- name: CreateToken :execrows
-- Writes nothing if an active token has the name.
INSERT INTO tokens (name, digest, scopes, instances, expires_at)
SELECT @name::text, @digest::bytea, @scopes::text [], sqlc.narg(instances)::text [], sqlc.narg(expires_at)::timestamptz
WHERE
    NOT EXISTS (
        SELECT FROM tokens AS t
        WHERE t.name = @name AND t.revoked_at IS NULL AND coalesce(t.expires_at, 'infinity') > now()
    );

-- name: RotateToken :execrows
-- Adds a secret to the newest active one of a name: for the same scopes and instances, valid for as long as that one was.
INSERT INTO tokens (name, digest, scopes, instances, expires_at)
SELECT t.name, @digest::bytea, t.scopes, t.instances, now() + (t.expires_at - t.created_at)
FROM tokens AS t
WHERE t.name = @name AND t.revoked_at IS NULL AND coalesce(t.expires_at, 'infinity') > now()
ORDER BY t.id DESC
LIMIT 1;

-- name: ExpireOldTokens :exec
-- Lets the older secrets of a name end after a while.
UPDATE tokens
SET expires_at = least(expires_at, now() + @overlap::interval)
WHERE name = @name AND digest <> @digest::bytea AND revoked_at IS NULL;

-- name: RevokeTokens :execrows
UPDATE tokens
SET revoked_at = now()
WHERE name = @name AND revoked_at IS NULL AND coalesce(expires_at, 'infinity') > now();

-- name: RecordTokenUse :exec
UPDATE tokens AS t
SET last_used_at = u.used_at, last_used_from = u.used_from
FROM (
    SELECT unnest(@ids::integer []) AS id, unnest(@used_ats::timestamptz []) AS used_at, unnest(@used_froms::text []) AS used_from
) AS u
WHERE t.id = u.id AND (t.last_used_at IS NULL OR t.last_used_at < u.used_at);

-- name: ListSessions :many
SELECT digest, token_digest, expires_at FROM sessions WHERE expires_at > now();

-- name: CreateSession :exec
INSERT INTO sessions (digest, token_digest, expires_at) VALUES (@digest, @token_digest, @expires_at);

-- name: DeleteSession :exec
DELETE FROM sessions WHERE digest = @digest;

-- name: DeleteOldSessions :exec
-- Deletes those that have expired, and of one token all but the newest.
DELETE FROM sessions AS s
WHERE
    s.expires_at <= now()
    OR s.token_digest = @token_digest AND s.digest NOT IN (
        SELECT n.digest FROM sessions AS n
        WHERE n.token_digest = @token_digest
        ORDER BY n.created_at DESC
        LIMIT @keep
    );
