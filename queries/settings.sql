-- name: ListSettings :many
-- All that is set, of each instance, and with an empty name what holds where an instance has none of its own. A length of
-- time is a number of seconds; 365000 days of them are for ever.
SELECT s.instance::text AS instance, v.name::text AS name, v.value::text AS value
FROM (
    SELECT
        '' AS instance,
        typing_timeout,
        recording_timeout,
        presence_timeout,
        time_zone,
        coalesce(retention, '365000 days') AS retention,
        coalesce(rollup_retention, '365000 days') AS rollup_retention
    FROM settings
    UNION ALL
    SELECT name, typing_timeout, recording_timeout, presence_timeout, time_zone, retention, rollup_retention
    FROM instances
) AS s
CROSS JOIN LATERAL (
    VALUES
    ('typing_timeout', extract(EPOCH FROM s.typing_timeout)::text),
    ('recording_timeout', extract(EPOCH FROM s.recording_timeout)::text),
    ('presence_timeout', extract(EPOCH FROM s.presence_timeout)::text),
    ('time_zone', s.time_zone),
    ('retention', extract(EPOCH FROM s.retention)::text),
    ('rollup_retention', extract(EPOCH FROM s.rollup_retention)::text)
) AS v (name, value)
WHERE v.value IS NOT NULL
ORDER BY s.instance;

-- name: LockSettings :exec
-- Lets one change settings at a time.
SELECT FROM settings FOR UPDATE;

-- name: SetSetting :exec
-- Changes the one of that name, whose value has the form in which ListSettings gives it.
UPDATE settings
SET
    typing_timeout = CASE @name::text WHEN 'typing_timeout' THEN nullif(@value::text, '')::interval ELSE typing_timeout END,
    recording_timeout = CASE @name WHEN 'recording_timeout' THEN nullif(@value, '')::interval ELSE recording_timeout END,
    presence_timeout = CASE @name WHEN 'presence_timeout' THEN nullif(@value, '')::interval ELSE presence_timeout END,
    time_zone = CASE @name WHEN 'time_zone' THEN @value ELSE time_zone END,
    retention = CASE @name WHEN 'retention' THEN nullif(@value, '')::interval ELSE retention END,
    rollup_retention = CASE @name WHEN 'rollup_retention' THEN nullif(@value, '')::interval ELSE rollup_retention END;

-- name: SetInstanceSetting :exec
-- The same of an instance; an empty value takes its own away.
UPDATE instances
SET
    typing_timeout = CASE @name::text WHEN 'typing_timeout' THEN nullif(@value::text, '')::interval ELSE typing_timeout END,
    recording_timeout = CASE @name WHEN 'recording_timeout' THEN nullif(@value, '')::interval ELSE recording_timeout END,
    presence_timeout = CASE @name WHEN 'presence_timeout' THEN nullif(@value, '')::interval ELSE presence_timeout END,
    time_zone = CASE @name WHEN 'time_zone' THEN nullif(@value, '') ELSE time_zone END,
    retention = CASE @name WHEN 'retention' THEN nullif(@value, '')::interval ELSE retention END,
    rollup_retention = CASE @name WHEN 'rollup_retention' THEN nullif(@value, '')::interval ELSE rollup_retention END
WHERE instances.name = @instance;

-- name: ZoneKnown :one
SELECT EXISTS (SELECT FROM pg_catalog.pg_timezone_names WHERE name = @name::text);

-- name: ListTimeouts :many
-- The timeouts in force, in microseconds.
SELECT
    instance_id,
    micros_of(typing) AS typing,
    micros_of(recording) AS recording,
    micros_of(presence) AS presence
FROM timeouts;

-- name: LongestTimeouts :one
-- How long, in microseconds, a status can last at most that nothing renews, over all instances.
SELECT
    (extract(EPOCH FROM max(greatest(typing, recording))) * 1000000)::bigint AS typing_or_recording,
    (extract(EPOCH FROM max(greatest(typing, recording) + presence)) * 1000000)::bigint AS presence
FROM timeouts;
