-- +goose Up

-- From events to spans: the one definition, for the API, the command line and analysts. In short:
-- an event sets the contact's status until the next event, or until the status runs out because nothing renewed it:
--     COMPOSING, RECORDING -- typing / recording timeout --> PAUSED
--     AVAILABLE, PAUSED    -- presence timeout ------------> UNAVAILABLE
-- An event at the very moment of running out wins. A span is a maximal run of one status.
-- All functions here are plain SELECTs, which the planner inlines into the query that calls them.

CREATE VIEW timeouts AS
SELECT
    i.id AS instance_id,
    coalesce(i.typing_timeout, s.typing_timeout) AS typing,
    coalesce(i.recording_timeout, s.recording_timeout) AS recording,
    coalesce(i.presence_timeout, s.presence_timeout) AS presence
FROM instances AS i
CROSS JOIN settings AS s;
COMMENT ON VIEW timeouts IS 'The timeouts in force in each instance';

-- When a status set at `at` becomes PAUSED, if nothing renews it; NULL: never.
-- +goose StatementBegin
CREATE FUNCTION pauses_at(status smallint, at timestamptz, t timeouts) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN at + CASE status WHEN 3 THEN t.typing WHEN 5 THEN t.recording END;
-- +goose StatementEnd

-- When a status set at `at` becomes UNAVAILABLE, if nothing renews it; NULL: never.
-- +goose StatementBegin
CREATE FUNCTION leaves_at(status smallint, at timestamptz, t timeouts) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN status <> 2 THEN coalesce(pauses_at(status, at, t), at) + t.presence END;
-- +goose StatementEnd

-- What a status set at `at` has become just before the event at `moment`.
-- +goose StatementBegin
CREATE FUNCTION status_before(moment timestamptz, status smallint, at timestamptz, t timeouts) RETURNS smallint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN leaves_at(status, at, t) < moment THEN 2 WHEN pauses_at(status, at, t) < moment THEN 4 ELSE status END;
-- +goose StatementEnd

-- The contact's last event at or before `moment` that changed its status, or with `visits` its being in the chat at all:
-- where reading must begin to see the span (visit) at `moment` whole. One step back along the key at a time, because
-- the first step nearly always hits and a window function would read the contact's whole past.
-- +goose StatementBegin
CREATE FUNCTION change_before(contact integer, moment timestamptz, t timeouts, visits boolean) RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT e.received_at
FROM events AS e
LEFT JOIN LATERAL (
    SELECT status_before(e.received_at, p.status, p.received_at, t) AS status
    FROM events AS p
    WHERE p.contact_id = contact AND p.received_at < e.received_at
    ORDER BY p.received_at DESC, p.seq DESC
    LIMIT 1
) AS before ON true
WHERE
    e.contact_id = contact
    AND e.received_at <= moment
    AND CASE
        WHEN visits THEN (before.status = 2) IS DISTINCT FROM (e.status = 2) ELSE before.status IS DISTINCT FROM e.status
    END
    AND e.seq = (SELECT max(n.seq) FROM events AS n WHERE n.contact_id = contact AND n.received_at = e.received_at)
ORDER BY e.received_at DESC, e.seq DESC
LIMIT 1
$$;
-- +goose StatementEnd

-- Its mirror: the contact's first such event at or after `moment`, where reading may end; none: read to the end.
-- +goose StatementBegin
CREATE FUNCTION change_after(contact integer, moment timestamptz, t timeouts, visits boolean) RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT e.received_at
FROM events AS e
LEFT JOIN LATERAL (
    SELECT status_before(e.received_at, p.status, p.received_at, t) AS status
    FROM events AS p
    WHERE p.contact_id = contact AND p.received_at < e.received_at
    ORDER BY p.received_at DESC, p.seq DESC
    LIMIT 1
) AS before ON true
WHERE
    e.contact_id = contact
    AND e.received_at >= moment
    AND CASE
        WHEN visits THEN (before.status = 2) IS DISTINCT FROM (e.status = 2) ELSE before.status IS DISTINCT FROM e.status
    END
    AND e.seq = (SELECT max(n.seq) FROM events AS n WHERE n.contact_id = contact AND n.received_at = e.received_at)
ORDER BY e.received_at, e.seq
LIMIT 1
$$;
-- +goose StatementEnd

-- The contact's spans around [range_start, range_end): those that overlap it, or with `visits` those of all visits that
-- overlap it, each whole, and perhaps a few neighbours. Only events around the range are read.
--   until              ended_at, or now for a span that still runs (ended_at is NULL)
--   ended_by           event, timeout or open
--   events             how many events set or renewed the status within the span
--   confirmed_from, confirmed_until   the part that events vouch for; NULL if there is none
-- +goose StatementBegin
CREATE FUNCTION spans_around(
    contact integer, range_start timestamptz, range_end timestamptz, now timestamptz, t timeouts, visits boolean
)
RETURNS TABLE (
    status smallint,
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    ended_by text,
    events bigint,
    confirmed_from timestamptz,
    confirmed_until timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH event AS (
    -- Of events with the same received_at only the last counts.
    SELECT DISTINCT ON (e.received_at)
        e.received_at AS at,
        e.status,
        pauses_at(e.status, e.received_at, t) AS pauses_at,
        leaves_at(e.status, e.received_at, t) AS leaves_at
    FROM events AS e
    WHERE
        e.contact_id = contact
        AND e.received_at >= coalesce((SELECT b.at FROM change_before(contact, range_start, t, visits) AS b), '-infinity')
        AND e.received_at <= coalesce((SELECT a.at FROM change_after(contact, range_end, t, visits) AS a), 'infinity')
    ORDER BY e.received_at, e.seq DESC
),

placed AS MATERIALIZED (
    SELECT
        *,
        row_number() OVER w AS nth,
        lag(at) OVER w AS previous_at,
        CASE
            WHEN lag(leaves_at) OVER w < at THEN 2 WHEN lag(pauses_at) OVER w < at THEN 4 ELSE lag(status) OVER w
        END AS before,
        lead(at) OVER w AS next_at,
        -- What time alone changes, it changes before this moment.
        coalesce(lead(at) OVER w, now + interval '1 microsecond') AS alone_until
    FROM event
    WINDOW w AS (ORDER BY at)
),

-- Each moment at which the status becomes another one: by an event, or by the time since the last one. After the last
-- event comes the end of what is known, at infinity, where the status is NULL.
change AS (
    SELECT at, status, true AS by_event, nth - 1 AS events_before, previous_at AS heard_before, at AS heard_next
    FROM placed
    WHERE before IS DISTINCT FROM status
    UNION ALL
    SELECT pauses_at, 4, false, nth, at, next_at
    FROM placed
    WHERE pauses_at < alone_until
    UNION ALL
    SELECT leaves_at, 2, false, nth, at, next_at
    FROM placed
    WHERE leaves_at < alone_until
    UNION ALL
    SELECT 'infinity', NULL, false, nth, at, NULL
    FROM placed
    WHERE next_at IS NULL
),

-- A span begins at each change and ends at the next.
span AS (
    SELECT
        status,
        at AS started_at,
        lead(at) OVER w AS ends_at,
        lead(by_event) OVER w AS ended_by_event,
        lead(events_before) OVER w - events_before AS events,
        heard_next AS first_event_at,
        lead(heard_before) OVER w AS last_event_at
    FROM change
    WINDOW w AS (ORDER BY at)
)

SELECT
    status::smallint,
    started_at,
    nullif(ends_at, 'infinity'),
    CASE WHEN ends_at = 'infinity' THEN greatest(now, started_at) ELSE ends_at END,
    CASE WHEN ends_at = 'infinity' THEN 'open' WHEN ended_by_event THEN 'event' ELSE 'timeout' END,
    events,
    CASE WHEN events > 0 THEN first_event_at END,
    CASE WHEN events > 0 THEN CASE WHEN ended_by_event THEN ends_at ELSE last_event_at END END
FROM span
WHERE status IS NOT NULL
ORDER BY started_at
$$;
-- +goose StatementEnd

-- The contact's spans that overlap [range_start, range_end), whole, not clipped, oldest first.
-- +goose StatementBegin
CREATE FUNCTION spans(contact integer, range_start timestamptz, range_end timestamptz, now timestamptz)
RETURNS TABLE (
    status smallint,
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    ended_by text,
    events bigint,
    confirmed_from timestamptz,
    confirmed_until timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT s.*
FROM contacts AS c
INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
CROSS JOIN LATERAL spans_around(contact, range_start, range_end, now, t, false) AS s
WHERE c.id = contact AND s.started_at < range_end AND (s.ended_at > range_start OR s.ended_at IS NULL)
ORDER BY s.started_at
$$;
-- +goose StatementEnd

-- What is summed up as durations: the contact's typing and recording spans and its visits that overlap
-- [range_start, range_end), whole. A visit is a run of adjoining spans that are not UNAVAILABLE.
-- +goose StatementBegin
CREATE FUNCTION stretches(contact integer, range_start timestamptz, range_end timestamptz, now timestamptz)
RETURNS TABLE (
    measure text,
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    ended_by text,
    events bigint,
    confirmed_from timestamptz,
    confirmed_until timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH span AS MATERIALIZED (
    SELECT s.*, count(*) FILTER (WHERE s.status = 2) OVER (ORDER BY s.started_at) AS absences
    FROM contacts AS c
    INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
    CROSS JOIN LATERAL spans_around(contact, range_start, range_end, now, t, true) AS s
    WHERE c.id = contact
),

visit AS (
    SELECT
        min(started_at) AS started_at,
        max(until) AS until,
        (array_agg(ended_by ORDER BY started_at DESC))[1] AS ended_by,
        sum(events)::bigint AS events,
        max(confirmed_until) AS heard_until
    FROM span
    WHERE status <> 2
    GROUP BY absences
),

stretch AS (
    SELECT
        CASE status WHEN 3 THEN 'typing' ELSE 'recording' END AS measure,
        started_at,
        ended_at,
        until,
        ended_by,
        events,
        confirmed_from,
        confirmed_until
    FROM span
    WHERE status IN (3, 5)
    UNION ALL
    SELECT
        'inChat',
        started_at,
        CASE WHEN ended_by <> 'open' THEN until END,
        until,
        ended_by,
        events,
        started_at, -- only an event begins a visit
        CASE ended_by WHEN 'event' THEN until ELSE heard_until END
    FROM visit
)

SELECT *
FROM stretch
WHERE started_at < range_end AND (until > range_start OR ended_by = 'open')
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION stretches, spans, spans_around, change_after, change_before, status_before, leaves_at, pauses_at;
DROP VIEW timeouts;
