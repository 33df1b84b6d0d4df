-- name: ListSettings :many
-- The settings of each instance, and under an empty name those that apply where an instance has none of its own. A duration
-- is a number of seconds; 365000 days mean forever.
SELECT s.instance::text AS instance, v.name::text AS name, v.value::text AS value
FROM (
    SELECT
        '' AS instance,
        typing_timeout,
        recording_timeout,
        presence_timeout,
        time_zone,
        coalesce(retention, '365000 days') AS retention,
        coalesce(interval_retention, '365000 days') AS interval_retention
    FROM settings
    UNION ALL
    SELECT name, typing_timeout, recording_timeout, presence_timeout, time_zone, retention, interval_retention
    FROM instances
) AS s
CROSS JOIN LATERAL (
    VALUES
    ('typing_timeout', extract(EPOCH FROM s.typing_timeout)::text),
    ('recording_timeout', extract(EPOCH FROM s.recording_timeout)::text),
    ('presence_timeout', extract(EPOCH FROM s.presence_timeout)::text),
    ('time_zone', s.time_zone),
    ('retention', extract(EPOCH FROM s.retention)::text),
    ('interval_retention', extract(EPOCH FROM s.interval_retention)::text)
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
    interval_retention = CASE @name WHEN 'interval_retention' THEN nullif(@value, '')::interval ELSE interval_retention END;

-- name: SetInstanceSetting :exec
-- The same of an instance; an empty value removes it.
UPDATE instances
SET
    typing_timeout = CASE @name::text WHEN 'typing_timeout' THEN nullif(@value::text, '')::interval ELSE typing_timeout END,
    recording_timeout = CASE @name WHEN 'recording_timeout' THEN nullif(@value, '')::interval ELSE recording_timeout END,
    presence_timeout = CASE @name WHEN 'presence_timeout' THEN nullif(@value, '')::interval ELSE presence_timeout END,
    time_zone = CASE @name WHEN 'time_zone' THEN nullif(@value, '') ELSE time_zone END,
    retention = CASE @name WHEN 'retention' THEN nullif(@value, '')::interval ELSE retention END,
    interval_retention = CASE @name WHEN 'interval_retention' THEN nullif(@value, '')::interval ELSE interval_retention END
WHERE instances.name = @instance;

-- name: TimeZone :one
-- The time zone in force in an instance.
SELECT coalesce((SELECT i.time_zone FROM instances AS i WHERE i.name = @instance), s.time_zone)::text AS time_zone
FROM settings AS s;

-- name: ZoneKnown :one
SELECT EXISTS (SELECT FROM pg_catalog.pg_timezone_names WHERE name = @name::text);

-- name: ListTimeouts :many
-- The timeouts in force.
SELECT instance_id, typing, recording, presence
FROM timeouts;

-- name: LongestTimeout :one
-- The longest time, in microseconds, that a contact can be in the chat without an event, over all instances.
SELECT coalesce((extract(EPOCH FROM max(greatest(typing, recording) + presence)) * 1000000)::bigint, 0)::bigint AS longest
FROM timeouts;
