-- name: GetTimeouts :one
-- Timeouts cross the border to Go as microseconds.
SELECT
    (extract(EPOCH FROM typing_timeout) * 1000000)::bigint AS typing,
    (extract(EPOCH FROM recording_timeout) * 1000000)::bigint AS recording,
    (extract(EPOCH FROM presence_timeout) * 1000000)::bigint AS presence
FROM settings;

-- name: ListInstanceTimeouts :many
-- 0 where the instance has no timeout of its own.
SELECT
    name,
    coalesce(extract(EPOCH FROM typing_timeout) * 1000000, 0)::bigint AS typing,
    coalesce(extract(EPOCH FROM recording_timeout) * 1000000, 0)::bigint AS recording,
    coalesce(extract(EPOCH FROM presence_timeout) * 1000000, 0)::bigint AS presence
FROM instances
WHERE num_nonnulls(typing_timeout, recording_timeout, presence_timeout) > 0
ORDER BY name;

-- name: SetTimeouts :exec
UPDATE settings
SET
    typing_timeout = sqlc.arg(typing)::bigint * interval '1 microsecond',
    recording_timeout = sqlc.arg(recording)::bigint * interval '1 microsecond',
    presence_timeout = sqlc.arg(presence)::bigint * interval '1 microsecond';

-- name: SetInstanceTimeouts :exec
-- 0 takes the instance's own timeout away.
UPDATE instances
SET
    typing_timeout = nullif(sqlc.arg(typing)::bigint, 0) * interval '1 microsecond',
    recording_timeout = nullif(sqlc.arg(recording)::bigint, 0) * interval '1 microsecond',
    presence_timeout = nullif(sqlc.arg(presence)::bigint, 0) * interval '1 microsecond'
WHERE name = @name;

-- name: LongestTimeouts :one
-- How long, in microseconds, a status can last at most that nothing renews, over all instances.
SELECT
    (extract(EPOCH FROM max(greatest(typing, recording))) * 1000000)::bigint AS typing_or_recording,
    (extract(EPOCH FROM max(greatest(typing, recording) + presence)) * 1000000)::bigint AS presence
FROM timeouts;
