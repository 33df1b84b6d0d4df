-- +goose Up

-- From events to spans: the one definition, for the API, the command line and analysts. In short:
-- an event sets the contact's status until the next event, or until the status times out because no event renews it:
--     COMPOSING, RECORDING -- typing / recording timeout --> PAUSED
--     AVAILABLE, PAUSED    -- presence timeout ------------> UNAVAILABLE
-- An event exactly at the timeout takes precedence. A span is a maximal run of one status.
-- All functions here are plain SELECTs, which the planner inlines into the query that calls them.

CREATE VIEW timeouts AS
SELECT
    i.id AS instance_id,
    coalesce(i.typing_timeout, s.typing_timeout) AS typing,
    coalesce(i.recording_timeout, s.recording_timeout) AS recording,
    coalesce(i.presence_timeout, s.presence_timeout) AS presence
FROM instances AS i
CROSS JOIN (SELECT * FROM settings LIMIT 1) AS s; -- LIMIT tells the planner that it is one row
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

-- The status just before the event at `moment`, if `status` was set at `at`.
-- +goose StatementBegin
CREATE FUNCTION status_before(moment timestamptz, status smallint, at timestamptz, t timeouts) RETURNS smallint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE WHEN leaves_at(status, at, t) < moment THEN 2 WHEN pauses_at(status, at, t) < moment THEN 4 ELSE status END;
-- +goose StatementEnd

-- The contact's last event at or before `moment` that changed its status: where reading must begin to see the span at `moment`
-- whole. The window follows the key backwards and stops at the first hit, which is nearly always the first event.
-- +goose StatementBegin
CREATE FUNCTION change_before(contact integer, moment timestamptz, t timeouts) RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT e.received_at
FROM (
    SELECT
        d.received_at,
        d.status,
        status_before(d.received_at, lead(d.status) OVER w, lead(d.received_at) OVER w, t) AS before
    FROM (
        SELECT DISTINCT ON (o.received_at) o.received_at, o.status
        FROM events AS o
        WHERE o.contact_id = contact AND o.received_at <= moment
        ORDER BY o.received_at DESC, o.seq DESC
    ) AS d
    WINDOW w AS (ORDER BY d.received_at DESC)
) AS e
WHERE e.before IS DISTINCT FROM e.status
LIMIT 1
$$;
-- +goose StatementEnd

-- The reverse: the first such event in [moment, before_at), where reading may end. No row: read to the end.
-- +goose StatementBegin
CREATE FUNCTION change_after(contact integer, moment timestamptz, before_at timestamptz, t timeouts) RETURNS TABLE (at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT e.received_at
FROM (
    SELECT
        d.received_at,
        d.status,
        status_before(d.received_at, lag(d.status) OVER w, lag(d.received_at) OVER w, t) AS before
    FROM (
        SELECT o.received_at, o.seq, o.status, lead(o.received_at) OVER (ORDER BY o.received_at, o.seq) AS following_at
        FROM events AS o
        WHERE
            o.contact_id = contact
            AND o.received_at >= coalesce(
                (SELECT max(p.received_at) FROM events AS p WHERE p.contact_id = contact AND p.received_at < moment), moment
            )
            AND o.received_at < before_at
    ) AS d
    WHERE d.following_at IS DISTINCT FROM d.received_at
    WINDOW w AS (ORDER BY d.received_at, d.seq)
) AS e
WHERE e.received_at >= moment AND e.before IS DISTINCT FROM e.status
LIMIT 1
$$;
-- +goose StatementEnd

--   until              ended_at, or now for a span that still runs (ended_at is NULL)
--   ended_by           event, timeout or open
--   events             how many events set or renewed the status within the span
--   confirmed_from, confirmed_until   the part that events confirm; NULL if there is none. The clock of an event may be ahead:
--   of a span that still runs, no more is confirmed than its length
CREATE TYPE span AS (
    status smallint,
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    ended_by text,
    events bigint,
    confirmed_from timestamptz,
    confirmed_until timestamptz
);

-- The contact's spans around [range_start, range_end): those that overlap it, each whole, and perhaps a few neighbours. Only
-- events around the range are read, and of the last span, which may have been renewed a million times, only what
-- contact_states says of it.
-- +goose StatementBegin
CREATE FUNCTION spans_around(
    contact integer, range_start timestamptz, range_end timestamptz, now timestamptz, t timeouts
)
RETURNS SETOF span
LANGUAGE sql STABLE PARALLEL SAFE AS $$
WITH run AS (
    SELECT s.since, s.span_first_event_at AS first_at, s.last_event_at AS last_at, s.status, s.span_events AS events
    FROM contact_states AS s
    WHERE s.contact_id = contact AND s.span_first_event_at IS NOT NULL AND s.span_events IS NOT NULL
),

bounds AS (
    SELECT
        CASE
            WHEN range_start >= (SELECT r.since FROM run AS r) THEN (SELECT r.first_at FROM run AS r)
            ELSE coalesce((SELECT b.at FROM change_before(contact, range_start, t) AS b), '-infinity')
        END AS first_at,
        CASE
            WHEN range_end < (SELECT r.since FROM run AS r)
                THEN coalesce(
                    (SELECT a.at FROM change_after(contact, range_end, (SELECT r.first_at FROM run AS r), t) AS a),
                    (SELECT r.first_at FROM run AS r)
                )
            ELSE coalesce(
                (
                    SELECT a.at
                    FROM change_after(
                        contact,
                        greatest(range_end, (SELECT r.last_at FROM run AS r) + interval '1 microsecond'),
                        'infinity',
                        t
                    ) AS a
                ),
                'infinity'
            )
        END AS last_at
),

-- The run of equal events counts as one event, from its first to its last one.
event AS (
    SELECT
        u.*,
        pauses_at(u.status, u.last_at, t) AS pauses_at,
        leaves_at(u.status, u.last_at, t) AS leaves_at
    FROM (
        SELECT r.first_at AS at, r.last_at, r.status, r.events, r.since
        FROM run AS r
        INNER JOIN bounds AS b ON r.first_at >= b.first_at AND r.first_at <= b.last_at
        UNION ALL
        SELECT e.received_at, e.received_at, e.status, 1, NULL
        FROM bounds AS b
        CROSS JOIN LATERAL (
            -- Of events with the same received_at only the last counts.
            SELECT DISTINCT ON (o.received_at) o.received_at, o.status
            FROM events AS o
            WHERE
                o.contact_id = contact AND o.received_at >= b.first_at AND o.received_at <= b.last_at
                AND o.received_at < coalesce((SELECT r.first_at FROM run AS r), 'infinity')
            ORDER BY o.received_at, o.seq DESC
        ) AS e
        UNION ALL
        SELECT e.received_at, e.received_at, e.status, 1, NULL
        FROM bounds AS b
        CROSS JOIN LATERAL (
            SELECT DISTINCT ON (o.received_at) o.received_at, o.status
            FROM events AS o
            WHERE
                o.contact_id = contact AND o.received_at >= b.first_at AND o.received_at <= b.last_at
                AND o.received_at > (SELECT r.last_at FROM run AS r)
            ORDER BY o.received_at, o.seq DESC
        ) AS e
    ) AS u
),

placed AS MATERIALIZED (
    SELECT
        *,
        row_number() OVER w AS place,
        sum(events) OVER w AS nth,
        lag(last_at) OVER w AS previous_at,
        CASE
            WHEN lag(leaves_at) OVER w < at THEN 2 WHEN lag(pauses_at) OVER w < at THEN 4 ELSE lag(status) OVER w
        END AS before,
        lead(at) OVER w AS next_at,
        -- A timeout changes the status only before this moment.
        coalesce(lead(at) OVER w, now + interval '1 microsecond') AS alone_until
    FROM event
    WINDOW w AS (ORDER BY at)
),

-- Each moment at which the status becomes another one: by an event, or by the time since the last one. After the last
-- event comes the end of what is known, at infinity, where the status is NULL.
change AS (
    SELECT
        CASE WHEN place = 1 THEN coalesce(since, at) ELSE at END AS at,
        status,
        true AS by_event,
        nth - events AS events_before,
        previous_at AS last_event_at,
        at AS next_event_at
    FROM placed
    WHERE before IS DISTINCT FROM status
    UNION ALL
    SELECT pauses_at, 4, false, nth, last_at, next_at
    FROM placed
    WHERE pauses_at < alone_until
    UNION ALL
    SELECT leaves_at, 2, false, nth, last_at, next_at
    FROM placed
    WHERE leaves_at < alone_until
    UNION ALL
    SELECT 'infinity', NULL, false, nth, last_at, NULL
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
        next_event_at AS first_event_at,
        lead(last_event_at) OVER w AS last_event_at
    FROM change
    WINDOW w AS (ORDER BY at)
)

SELECT
    status::smallint,
    started_at,
    nullif(ends_at, 'infinity'),
    CASE WHEN ends_at = 'infinity' THEN greatest(now, started_at) ELSE ends_at END,
    CASE WHEN ends_at = 'infinity' THEN 'open' WHEN ended_by_event THEN 'event' ELSE 'timeout' END,
    events::bigint,
    CASE WHEN events > 0 THEN least(first_event_at, CASE WHEN ends_at = 'infinity' THEN greatest(now, started_at) END) END,
    CASE
        WHEN events = 0 THEN NULL
        WHEN ended_by_event THEN ends_at
        ELSE least(last_event_at, CASE WHEN ends_at = 'infinity' THEN greatest(now, started_at) END)
    END
FROM span
WHERE status IS NOT NULL
ORDER BY started_at
$$;
-- +goose StatementEnd

-- The contact's spans that overlap [range_start, range_end), whole, not clipped, oldest first.
-- +goose StatementBegin
CREATE FUNCTION spans(contact integer, range_start timestamptz, range_end timestamptz, now timestamptz)
RETURNS SETOF span
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT s.*
FROM contacts AS c
INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
CROSS JOIN LATERAL spans_around(contact, range_start, range_end, now, t) AS s
WHERE c.id = contact AND s.started_at < range_end AND (s.ended_at > range_start OR s.ended_at IS NULL)
ORDER BY s.started_at
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION spans, spans_around, change_after, change_before, status_before, leaves_at, pauses_at;
DROP TYPE span;
DROP VIEW timeouts;
