-- +goose Up

-- The views of schema analytics, for people with psql, Metabase or Grafana. They stay as they are: columns may be added,
-- not renamed. Who asks sees only the instances that the table analysts allows.
--
-- Tables inside a view are read as the view's owner, but functions inside it run as who asks. So what reads the service's
-- tables by a function is SECURITY DEFINER, and looks itself at who asks and for what: anybody may call it.

-- These functions find the tables where this migration makes them, whatever the caller's search_path is.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
'What contacts did, for analysts. Times are moments (timestamptz), lengths are seconds to the microsecond';

CREATE TABLE analysts (
    role_name name NOT NULL,
    instance_id integer REFERENCES instances ON DELETE CASCADE,
    UNIQUE NULLS NOT DISTINCT (role_name, instance_id)
);
COMMENT ON TABLE analysts IS 'Which roles see which instances in the views of schema analytics';
COMMENT ON COLUMN analysts.instance_id IS 'NULL: all instances';

-- The role that asks; inside a SECURITY DEFINER function, current_user is its owner.
-- +goose StatementBegin
CREATE FUNCTION asking_role() RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(current_setting('role'), 'none')::name, session_user);
-- +goose StatementEnd

CREATE VIEW visible_instances AS
SELECT i.id, i.name, coalesce(i.time_zone, (SELECT s.time_zone FROM settings AS s)) AS time_zone
FROM instances AS i
WHERE
    has_table_privilege(asking_role(), 'events'::regclass, 'SELECT')
    OR EXISTS (
        SELECT FROM analysts AS a
        WHERE a.role_name = asking_role() AND (a.instance_id = i.id OR a.instance_id IS NULL)
    );
COMMENT ON VIEW visible_instances IS 'The instances that who asks may see: all for those who can read events anyway';

-- A barrier by itself, because PostgreSQL drops that of a view that is a UNION ALL.
CREATE VIEW visible_contacts WITH (security_barrier) AS
SELECT c.id, i.name AS instance_id, c.phone
FROM visible_instances AS i
INNER JOIN contacts AS c ON c.instance_id = i.id;
COMMENT ON VIEW visible_contacts IS 'Their contacts';

-- Base 32 like presence.EventID: 12 digits for the upper 60 bits of received_at in microseconds, 4 for the rest and seq.
-- +goose StatementBegin
CREATE FUNCTION event_id(received_at timestamptz, seq smallint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT string_agg(substr('0123456789ABCDEFGHIJKLMNOPQRSTUV', (digits >> place & 31)::integer + 1, 1), '' ORDER BY part, place DESC)
    FROM (SELECT (extract(EPOCH FROM received_at) * 1000000)::bigint AS micros) AS m
    CROSS JOIN LATERAL (VALUES (1, micros >> 4, 55), (2, (micros & 15) << 16 | (seq & 65535), 15)) AS p (part, digits, first_place)
    CROSS JOIN LATERAL generate_series(first_place, 0, -5) AS place
);
-- +goose StatementEnd

-- The first moment of a day: where the clocks show midnight twice, the first, and where they skip it, when they do.
-- +goose StatementBegin
CREATE FUNCTION day_start(day date, time_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT min(moment)
    FROM generate_series(
        day::timestamp AT TIME ZONE time_zone - interval '3 h', day::timestamp AT TIME ZONE time_zone, interval '15 min'
    ) AS moment
    WHERE moment AT TIME ZONE time_zone >= day::timestamp
);
-- +goose StatementEnd

-- Where an instance's days begin.
-- +goose StatementBegin
CREATE FUNCTION first_heard(instance integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT least(first_slot(), (SELECT min(r.slot) FROM rollups AS r WHERE r.instance_id = i.id))
FROM visible_instances AS i
WHERE i.id = instance
$$;
-- +goose StatementEnd

-- A contact's spans around a range.
-- +goose StatementBegin
CREATE FUNCTION contact_spans(contact integer, range_start timestamptz, range_end timestamptz)
RETURNS TABLE (
    status text,
    started_at timestamptz,
    ended_at timestamptz,
    seconds numeric,
    confirmed_seconds numeric,
    events bigint,
    ended_by text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT
    status_name(s.status),
    s.started_at,
    s.ended_at,
    extract(EPOCH FROM s.until - s.started_at),
    coalesce(extract(EPOCH FROM s.confirmed_until - s.confirmed_from), 0.000000),
    s.events,
    s.ended_by
FROM contacts AS c
INNER JOIN visible_instances AS i ON i.id = c.instance_id
CROSS JOIN LATERAL spans(c.id, range_start, range_end, now()) AS s
WHERE c.id = contact
$$;
-- +goose StatementEnd

-- A contact's visits around a range.
-- +goose StatementBegin
CREATE FUNCTION contact_visits(contact integer, range_start timestamptz, range_end timestamptz)
RETURNS TABLE (
    started_at timestamptz,
    ended_at timestamptz,
    seconds numeric,
    confirmed_seconds numeric,
    events bigint,
    ended_by text
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT
    s.started_at,
    s.ended_at,
    extract(EPOCH FROM s.until - s.started_at),
    extract(EPOCH FROM s.confirmed_until - s.confirmed_from),
    s.events,
    s.ended_by
FROM contacts AS c
INNER JOIN visible_instances AS i ON i.id = c.instance_id
CROSS JOIN LATERAL stretches(c.id, range_start, range_end, now()) AS s
WHERE c.id = contact AND s.measure = 'inChat'
$$;
-- +goose StatementEnd

-- Who has a status now that is not UNAVAILABLE. Who has it was heard of within the longest time that it lasts; what it has
-- become since the last event says whether the span is worth a look.
-- +goose StatementBegin
CREATE FUNCTION present_contacts(status smallint) RETURNS TABLE (instance_id text, phone text, since timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
WITH present AS MATERIALIZED (
    SELECT c.id, c.phone, i.name
    FROM heard_between(
        now() - (
            SELECT max(CASE WHEN status IN (3, 5) THEN greatest(t.typing, t.recording) ELSE r.reach END)
            FROM timeouts AS t
            INNER JOIN reaches AS r ON r.instance_id = t.instance_id
        ),
        'infinity'
    ) AS heard
    CROSS JOIN LATERAL (
        SELECT k.id, k.instance_id, k.phone
        FROM contacts AS k
        WHERE k.id = heard.contact_id
        LIMIT 1
    ) AS c
    INNER JOIN visible_instances AS i ON i.id = c.instance_id
    INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
    CROSS JOIN LATERAL (
        SELECT e.status, e.received_at
        FROM events AS e
        WHERE e.contact_id = heard.contact_id
        ORDER BY e.received_at DESC, e.seq DESC
        LIMIT 1
    ) AS last
    WHERE status_before(now() + interval '1 microsecond', last.status, last.received_at, t) = present_contacts.status
)

SELECT p.name, p.phone, s.started_at
FROM present AS p
CROSS JOIN LATERAL spans(p.id, 'infinity', 'infinity', now()) AS s
$$;
-- +goose StatementEnd

-- What lies in [range_start, range_end), bounds of slots, of an instance's stretches or, unless contact is NULL, of that
-- contact's: summed up by contact or over all. One contact's events are read; of all contacts the rollups, and events
-- only where rollups cannot be read.
-- +goose StatementBegin
CREATE FUNCTION sums(
    instance integer, contact integer, by_contact boolean, range_start timestamptz, range_end timestamptz
)
RETURNS TABLE (
    contact_id integer,
    typing_seconds numeric,
    typing_confirmed_seconds numeric,
    typing_count bigint,
    recording_seconds numeric,
    recording_confirmed_seconds numeric,
    recording_count bigint,
    in_chat_seconds numeric,
    in_chat_confirmed_seconds numeric,
    visit_count bigint
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
WITH hole AS MATERIALIZED (
    SELECT h.from_slot, h.until_slot, greatest(range_end, h.from_slot + interval '1 microsecond') AS around_end, r.reach
    FROM visible_instances AS i
    INNER JOIN reaches AS r ON r.instance_id = i.id
    CROSS JOIN LATERAL not_rolled_up(i.id, range_start) AS h
    WHERE i.id = instance AND contact IS NULL
),

readable AS (
    SELECT r.*
    FROM rollups AS r
    WHERE
        r.instance_id = (SELECT i.id FROM visible_instances AS i WHERE i.id = instance)
        AND contact IS NULL
        AND r.slot >= range_start AND r.slot < range_end
        AND NOT EXISTS (SELECT FROM hole AS h WHERE r.ended_slot >= h.from_slot AND r.ended_slot < h.until_slot)
),

-- Whose stretches are to be read, around which range, and when they must have ended.
heard AS (
    SELECT
        c.id,
        range_start AS around_start,
        range_end AS around_end,
        '-infinity'::timestamptz AS ended_after,
        'infinity'::timestamptz AS ended_until
    FROM contacts AS c
    WHERE c.id = contact AND c.instance_id = (SELECT i.id FROM visible_instances AS i WHERE i.id = instance)
    UNION ALL
    SELECT e.contact_id, h.from_slot, h.around_end, h.from_slot, h.until_slot
    FROM hole AS h
    CROSS JOIN LATERAL heard_between(h.from_slot - h.reach, h.around_end) AS e
    WHERE
        (SELECT c.instance_id FROM contacts AS c WHERE c.id = e.contact_id) = instance
        -- A stretch that ends in a hole after the range fills all the time between: its contact was heard of at both ends.
        AND (
            h.from_slot < range_end
            OR (
                SELECT p.seq
                FROM events AS p
                WHERE p.contact_id = e.contact_id AND p.received_at >= range_end - h.reach AND p.received_at < range_end
                LIMIT 1
            ) IS NOT NULL
        )
),

part AS (
    SELECT p.contact_id, r.measure, p.inside, p.confirmed_inside, (p.length > 0)::integer AS starts
    FROM readable AS r
    CROSS JOIN LATERAL parts_of(r.parts) AS p
    WHERE by_contact
    UNION ALL
    SELECT NULL, r.measure, r.micros, r.confirmed_micros, r.starts
    FROM readable AS r
    WHERE NOT by_contact
    UNION ALL
    SELECT
        CASE WHEN by_contact THEN h.id END,
        s.measure,
        micros_of(least(s.until, range_end) - greatest(s.started_at, range_start)),
        greatest(micros_of(least(s.confirmed_until, range_end) - greatest(s.confirmed_from, range_start)), 0),
        (s.started_at >= range_start)::integer
    FROM heard AS h
    CROSS JOIN LATERAL stretches(h.id, h.around_start, h.around_end, now()) AS s
    WHERE
        s.started_at < range_end
        AND (s.until > range_start OR s.started_at >= range_start)
        AND coalesce(s.ended_at, 'infinity') > h.ended_after AND coalesce(s.ended_at, 'infinity') <= h.ended_until
)

SELECT
    contact_id,
    coalesce(sum(inside) FILTER (WHERE measure = 'typing'), 0) * 0.000001,
    coalesce(sum(confirmed_inside) FILTER (WHERE measure = 'typing'), 0) * 0.000001,
    coalesce(sum(starts) FILTER (WHERE measure = 'typing'), 0),
    coalesce(sum(inside) FILTER (WHERE measure = 'recording'), 0) * 0.000001,
    coalesce(sum(confirmed_inside) FILTER (WHERE measure = 'recording'), 0) * 0.000001,
    coalesce(sum(starts) FILTER (WHERE measure = 'recording'), 0),
    coalesce(sum(inside) FILTER (WHERE measure = 'inChat'), 0) * 0.000001,
    coalesce(sum(confirmed_inside) FILTER (WHERE measure = 'inChat'), 0) * 0.000001,
    coalesce(sum(starts) FILTER (WHERE measure = 'inChat'), 0)
FROM part
GROUP BY contact_id
$$;
-- +goose StatementEnd

-- In a block, which sqlc does not look into: it does not know what columns functions have.
-- +goose StatementBegin
DO $$ BEGIN

CREATE VIEW analytics.instances WITH (security_barrier) AS
SELECT i.name AS instance_id, i.time_zone, heard.first_event_at, heard.last_event_at
FROM visible_instances AS i
CROSS JOIN LATERAL (
    SELECT
        min((SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = c.id)) AS first_event_at,
        max((SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.id)) AS last_event_at
    FROM contacts AS c
    WHERE c.instance_id = i.id
) AS heard
WHERE heard.last_event_at IS NOT NULL;

CREATE VIEW analytics.contacts WITH (security_barrier) AS
SELECT c.instance_id, c.phone, heard.first_event_at, heard.last_event_at
FROM visible_contacts AS c
CROSS JOIN LATERAL (
    SELECT min(e.received_at) AS first_event_at, max(e.received_at) AS last_event_at
    FROM events AS e
    WHERE e.contact_id = c.id
) AS heard
WHERE heard.last_event_at IS NOT NULL;

-- Each status by itself, so that who asks for one is spared the others, above all UNAVAILABLE.
CREATE VIEW analytics.current_status WITH (security_barrier) AS
SELECT instance_id, phone, 'AVAILABLE' AS status, since FROM present_contacts(1::smallint)
UNION ALL
SELECT instance_id, phone, 'COMPOSING', since FROM present_contacts(3::smallint)
UNION ALL
SELECT instance_id, phone, 'PAUSED', since FROM present_contacts(4::smallint)
UNION ALL
SELECT instance_id, phone, 'RECORDING', since FROM present_contacts(5::smallint)
UNION ALL
SELECT c.instance_id, c.phone, 'UNAVAILABLE', s.started_at
FROM visible_contacts AS c
CROSS JOIN LATERAL contact_spans(c.id, 'infinity', 'infinity') AS s
WHERE s.status = 'UNAVAILABLE';

CREATE VIEW analytics.events WITH (security_barrier) AS
SELECT
    c.instance_id,
    c.phone,
    e.received_at,
    status_name(e.status) AS status,
    e.last_seen,
    e.extra,
    event_id(e.received_at, e.seq) AS event_id
FROM visible_contacts AS c
INNER JOIN events AS e ON e.contact_id = c.id;

CREATE VIEW analytics.spans WITH (security_barrier) AS
SELECT c.instance_id, c.phone, s.*
FROM visible_contacts AS c
CROSS JOIN LATERAL contact_spans(c.id, '-infinity', 'infinity') AS s;

CREATE VIEW analytics.typing WITH (security_barrier) AS
SELECT instance_id, phone, started_at, ended_at, seconds, confirmed_seconds, events, ended_by
FROM analytics.spans
WHERE status = 'COMPOSING';

CREATE VIEW analytics.recording WITH (security_barrier) AS
SELECT instance_id, phone, started_at, ended_at, seconds, confirmed_seconds, events, ended_by
FROM analytics.spans
WHERE status = 'RECORDING';

CREATE VIEW analytics.visits WITH (security_barrier) AS
SELECT c.instance_id, c.phone, v.*
FROM visible_contacts AS c
CROSS JOIN LATERAL contact_visits(c.id, '-infinity', 'infinity') AS v;

-- Days, or hours, come first, so that a filter on them is applied before anything is summed up.
CREATE VIEW analytics.hourly WITH (security_barrier) AS
SELECT
    i.name AS instance_id,
    c.phone,
    h.hour,
    s.typing_seconds,
    s.typing_confirmed_seconds,
    s.typing_count,
    s.recording_seconds,
    s.recording_confirmed_seconds,
    s.recording_count,
    s.in_chat_seconds,
    s.in_chat_confirmed_seconds,
    s.visit_count
FROM visible_instances AS i
CROSS JOIN LATERAL generate_series(date_trunc('hour', first_heard(i.id), 'UTC'), now(), interval '1 h') AS h (hour)
CROSS JOIN LATERAL sums(i.id, NULL, true, h.hour, h.hour + interval '1 h') AS s
INNER JOIN contacts AS c ON c.id = s.contact_id;

CREATE VIEW analytics.daily WITH (security_barrier) AS
SELECT
    i.name AS instance_id,
    c.phone,
    d.midnight::date AS day,
    s.typing_seconds,
    s.typing_confirmed_seconds,
    s.typing_count,
    s.recording_seconds,
    s.recording_confirmed_seconds,
    s.recording_count,
    s.in_chat_seconds,
    s.in_chat_confirmed_seconds,
    s.visit_count
FROM visible_instances AS i
CROSS JOIN LATERAL generate_series(
    date_trunc('day', first_heard(i.id) AT TIME ZONE i.time_zone), now() AT TIME ZONE i.time_zone, interval '1 day'
) AS d (midnight)
CROSS JOIN LATERAL sums(
    i.id, NULL, true, day_start(d.midnight::date, i.time_zone), day_start(d.midnight::date + 1, i.time_zone)
) AS s
INNER JOIN contacts AS c ON c.id = s.contact_id;

CREATE VIEW analytics.instance_hourly WITH (security_barrier) AS
SELECT
    i.name AS instance_id,
    h.hour,
    s.typing_seconds,
    s.typing_confirmed_seconds,
    s.typing_count,
    s.recording_seconds,
    s.recording_confirmed_seconds,
    s.recording_count,
    s.in_chat_seconds,
    s.in_chat_confirmed_seconds,
    s.visit_count
FROM visible_instances AS i
CROSS JOIN LATERAL generate_series(date_trunc('hour', first_heard(i.id), 'UTC'), now(), interval '1 h') AS h (hour)
CROSS JOIN LATERAL sums(i.id, NULL, false, h.hour, h.hour + interval '1 h') AS s;

CREATE VIEW analytics.instance_daily WITH (security_barrier) AS
SELECT
    i.name AS instance_id,
    d.midnight::date AS day,
    s.typing_seconds,
    s.typing_confirmed_seconds,
    s.typing_count,
    s.recording_seconds,
    s.recording_confirmed_seconds,
    s.recording_count,
    s.in_chat_seconds,
    s.in_chat_confirmed_seconds,
    s.visit_count
FROM visible_instances AS i
CROSS JOIN LATERAL generate_series(
    date_trunc('day', first_heard(i.id) AT TIME ZONE i.time_zone), now() AT TIME ZONE i.time_zone, interval '1 day'
) AS d (midnight)
CROSS JOIN LATERAL sums(
    i.id, NULL, false, day_start(d.midnight::date, i.time_zone), day_start(d.midnight::date + 1, i.time_zone)
) AS s;

COMMENT ON VIEW analytics.instances IS 'The connected numbers that were heard of';
COMMENT ON COLUMN analytics.instances.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.instances.time_zone IS 'the zone of its days in daily and instance_daily';
COMMENT ON COLUMN analytics.instances.first_event_at IS 'when it was first heard of';
COMMENT ON COLUMN analytics.instances.last_event_at IS 'when it was last heard of';

COMMENT ON VIEW analytics.contacts IS 'The contacts that were heard of';
COMMENT ON COLUMN analytics.contacts.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.contacts.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.contacts.first_event_at IS 'when it was first heard of';
COMMENT ON COLUMN analytics.contacts.last_event_at IS 'when it was last heard of';

COMMENT ON VIEW analytics.current_status IS 'What every contact does now; quick for other statuses than UNAVAILABLE';
COMMENT ON COLUMN analytics.current_status.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.current_status.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.current_status.status IS 'AVAILABLE, UNAVAILABLE, COMPOSING (typing), PAUSED (stopped typing) or RECORDING';
COMMENT ON COLUMN analytics.current_status.since IS 'when the status began';

COMMENT ON VIEW analytics.events IS 'Every presence event as it came';
COMMENT ON COLUMN analytics.events.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.events.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.events.received_at IS 'when it was received';
COMMENT ON COLUMN analytics.events.status IS 'AVAILABLE, UNAVAILABLE, COMPOSING (typing), PAUSED (stopped typing) or RECORDING';
COMMENT ON COLUMN analytics.events.last_seen IS 'lastSeen as sent; its unit differs between gateways';
COMMENT ON COLUMN analytics.events.extra IS 'the fields that presencelog does not know, as sent; NULL if there were none';
COMMENT ON COLUMN analytics.events.event_id IS 'its name among the contact''s events, the id of the API';

COMMENT ON VIEW analytics.spans IS 'Stretches of time in which a contact had one status; quick for a contact, and for a range of time as analytics.spans(from_time, to_time)';
COMMENT ON COLUMN analytics.spans.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.spans.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.spans.status IS 'AVAILABLE, UNAVAILABLE, COMPOSING (typing), PAUSED (stopped typing) or RECORDING';
COMMENT ON COLUMN analytics.spans.started_at IS 'when it began';
COMMENT ON COLUMN analytics.spans.ended_at IS 'when it ended; NULL while it runs';
COMMENT ON COLUMN analytics.spans.seconds IS 'its length; up to now while it runs';
COMMENT ON COLUMN analytics.spans.confirmed_seconds IS 'the part of seconds that events vouch for; the truth lies between the two';
COMMENT ON COLUMN analytics.spans.events IS 'how many events set or renewed the status within it';
COMMENT ON COLUMN analytics.spans.ended_by IS 'event, timeout (nothing renewed the status) or open (it still runs)';

COMMENT ON VIEW analytics.typing IS 'Spans of COMPOSING: a contact typed';
COMMENT ON COLUMN analytics.typing.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.typing.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.typing.started_at IS 'when it began';
COMMENT ON COLUMN analytics.typing.ended_at IS 'when it ended; NULL while it runs';
COMMENT ON COLUMN analytics.typing.seconds IS 'its length; up to now while it runs';
COMMENT ON COLUMN analytics.typing.confirmed_seconds IS 'the part of seconds that events vouch for; the truth lies between the two';
COMMENT ON COLUMN analytics.typing.events IS 'how many events set or renewed the status within it';
COMMENT ON COLUMN analytics.typing.ended_by IS 'event, timeout (nothing renewed the status) or open (it still runs)';

COMMENT ON VIEW analytics.recording IS 'Spans of RECORDING: a contact recorded audio';
COMMENT ON COLUMN analytics.recording.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.recording.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.recording.started_at IS 'when it began';
COMMENT ON COLUMN analytics.recording.ended_at IS 'when it ended; NULL while it runs';
COMMENT ON COLUMN analytics.recording.seconds IS 'its length; up to now while it runs';
COMMENT ON COLUMN analytics.recording.confirmed_seconds IS 'the part of seconds that events vouch for; the truth lies between the two';
COMMENT ON COLUMN analytics.recording.events IS 'how many events set or renewed the status within it';
COMMENT ON COLUMN analytics.recording.ended_by IS 'event, timeout (nothing renewed the status) or open (it still runs)';

COMMENT ON VIEW analytics.visits IS 'Stretches of time in which a contact was in the chat: adjoining spans of other statuses than UNAVAILABLE; quick for a contact, and for a range of time as analytics.visits(from_time, to_time)';
COMMENT ON COLUMN analytics.visits.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.visits.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.visits.started_at IS 'when it began';
COMMENT ON COLUMN analytics.visits.ended_at IS 'when it ended; NULL while it runs';
COMMENT ON COLUMN analytics.visits.seconds IS 'its length; up to now while it runs';
COMMENT ON COLUMN analytics.visits.confirmed_seconds IS 'the part of seconds that events vouch for; the truth lies between the two';
COMMENT ON COLUMN analytics.visits.events IS 'how many events set or renewed the status within it';
COMMENT ON COLUMN analytics.visits.ended_by IS 'event, timeout (nothing renewed the status) or open (it still runs)';

COMMENT ON VIEW analytics.hourly IS 'What each contact did in each hour in which it did something; quick for an hour';
COMMENT ON COLUMN analytics.hourly.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.hourly.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.hourly.hour IS 'when the hour began, a full one of UTC';
COMMENT ON COLUMN analytics.hourly.typing_seconds IS 'how long the contact was typing within the hour';
COMMENT ON COLUMN analytics.hourly.typing_confirmed_seconds IS 'the part of typing_seconds that events vouch for';
COMMENT ON COLUMN analytics.hourly.typing_count IS 'how many times the contact began to type in the hour';
COMMENT ON COLUMN analytics.hourly.recording_seconds IS 'how long the contact was recording within the hour';
COMMENT ON COLUMN analytics.hourly.recording_confirmed_seconds IS 'the part of recording_seconds that events vouch for';
COMMENT ON COLUMN analytics.hourly.recording_count IS 'how many times the contact began to record in the hour';
COMMENT ON COLUMN analytics.hourly.in_chat_seconds IS 'how long the contact was in the chat within the hour';
COMMENT ON COLUMN analytics.hourly.in_chat_confirmed_seconds IS 'the part of in_chat_seconds that events vouch for';
COMMENT ON COLUMN analytics.hourly.visit_count IS 'how many visits began in the hour';

COMMENT ON VIEW analytics.daily IS 'What each contact did on each day on which it did something; quick for a day, and for a contact or in other time zones as analytics.daily(…)';
COMMENT ON COLUMN analytics.daily.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.daily.phone IS 'the contact within the instance, as the gateway names it';
COMMENT ON COLUMN analytics.daily.day IS 'the date in the instance''s time zone';
COMMENT ON COLUMN analytics.daily.typing_seconds IS 'how long the contact was typing within the day';
COMMENT ON COLUMN analytics.daily.typing_confirmed_seconds IS 'the part of typing_seconds that events vouch for';
COMMENT ON COLUMN analytics.daily.typing_count IS 'how many times the contact began to type in the day';
COMMENT ON COLUMN analytics.daily.recording_seconds IS 'how long the contact was recording within the day';
COMMENT ON COLUMN analytics.daily.recording_confirmed_seconds IS 'the part of recording_seconds that events vouch for';
COMMENT ON COLUMN analytics.daily.recording_count IS 'how many times the contact began to record in the day';
COMMENT ON COLUMN analytics.daily.in_chat_seconds IS 'how long the contact was in the chat within the day';
COMMENT ON COLUMN analytics.daily.in_chat_confirmed_seconds IS 'the part of in_chat_seconds that events vouch for';
COMMENT ON COLUMN analytics.daily.visit_count IS 'how many visits began in the day';

COMMENT ON VIEW analytics.instance_hourly IS 'What all contacts of an instance did together in each hour in which one did something';
COMMENT ON COLUMN analytics.instance_hourly.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.instance_hourly.hour IS 'when the hour began, a full one of UTC';
COMMENT ON COLUMN analytics.instance_hourly.typing_seconds IS 'how long all contacts together were typing within the hour';
COMMENT ON COLUMN analytics.instance_hourly.typing_confirmed_seconds IS 'the part of typing_seconds that events vouch for';
COMMENT ON COLUMN analytics.instance_hourly.typing_count IS 'how many times contacts began to type in the hour';
COMMENT ON COLUMN analytics.instance_hourly.recording_seconds IS 'how long all contacts together were recording within the hour';
COMMENT ON COLUMN analytics.instance_hourly.recording_confirmed_seconds IS 'the part of recording_seconds that events vouch for';
COMMENT ON COLUMN analytics.instance_hourly.recording_count IS 'how many times contacts began to record in the hour';
COMMENT ON COLUMN analytics.instance_hourly.in_chat_seconds IS 'how long all contacts together were in the chat within the hour';
COMMENT ON COLUMN analytics.instance_hourly.in_chat_confirmed_seconds IS 'the part of in_chat_seconds that events vouch for';
COMMENT ON COLUMN analytics.instance_hourly.visit_count IS 'how many visits began in the hour';

COMMENT ON VIEW analytics.instance_daily IS 'What all contacts of an instance did together on each day on which one did something';
COMMENT ON COLUMN analytics.instance_daily.instance_id IS 'the connected number, as its gateway names it';
COMMENT ON COLUMN analytics.instance_daily.day IS 'the date in the instance''s time zone';
COMMENT ON COLUMN analytics.instance_daily.typing_seconds IS 'how long all contacts together were typing within the day';
COMMENT ON COLUMN analytics.instance_daily.typing_confirmed_seconds IS 'the part of typing_seconds that events vouch for';
COMMENT ON COLUMN analytics.instance_daily.typing_count IS 'how many times contacts began to type in the day';
COMMENT ON COLUMN analytics.instance_daily.recording_seconds IS 'how long all contacts together were recording within the day';
COMMENT ON COLUMN analytics.instance_daily.recording_confirmed_seconds IS 'the part of recording_seconds that events vouch for';
COMMENT ON COLUMN analytics.instance_daily.recording_count IS 'how many times contacts began to record in the day';
COMMENT ON COLUMN analytics.instance_daily.in_chat_seconds IS 'how long all contacts together were in the chat within the day';
COMMENT ON COLUMN analytics.instance_daily.in_chat_confirmed_seconds IS 'the part of in_chat_seconds that events vouch for';
COMMENT ON COLUMN analytics.instance_daily.visit_count IS 'how many visits began in the day';

END $$;
-- +goose StatementEnd

-- Functions of the same names as views, for what a view cannot know.

-- +goose StatementBegin
CREATE FUNCTION analytics.spans(from_time timestamptz, to_time timestamptz) RETURNS SETOF analytics.spans
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT i.name, c.phone, s.*
FROM heard_between(from_time - (SELECT max(r.reach) FROM reaches AS r), to_time) AS heard
INNER JOIN contacts AS c ON c.id = heard.contact_id
INNER JOIN visible_instances AS i ON i.id = c.instance_id
CROSS JOIN LATERAL contact_spans(c.id, from_time, to_time) AS s
WHERE s.started_at >= from_time
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION analytics.visits(from_time timestamptz, to_time timestamptz) RETURNS SETOF analytics.visits
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT i.name, c.phone, v.*
FROM heard_between(from_time - (SELECT max(r.reach) FROM reaches AS r), to_time) AS heard
INNER JOIN contacts AS c ON c.id = heard.contact_id
INNER JOIN visible_instances AS i ON i.id = c.instance_id
CROSS JOIN LATERAL contact_visits(c.id, from_time, to_time) AS v
WHERE v.started_at >= from_time
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION analytics.daily(
    time_zone text DEFAULT NULL,
    first_day date DEFAULT NULL,
    last_day date DEFAULT NULL,
    instance_id text DEFAULT NULL,
    phone text DEFAULT NULL
)
RETURNS SETOF analytics.daily
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT
    i.name,
    c.phone,
    d.midnight::date,
    s.typing_seconds,
    s.typing_confirmed_seconds,
    s.typing_count,
    s.recording_seconds,
    s.recording_confirmed_seconds,
    s.recording_count,
    s.in_chat_seconds,
    s.in_chat_confirmed_seconds,
    s.visit_count
FROM visible_instances AS i
CROSS JOIN LATERAL coalesce(daily.time_zone, i.time_zone) AS zone
LEFT JOIN contacts AS one ON one.instance_id = i.id AND one.phone = daily.phone
CROSS JOIN LATERAL generate_series(
    greatest(date_trunc('day', first_heard(i.id) AT TIME ZONE zone), first_day),
    least(now() AT TIME ZONE zone, last_day),
    interval '1 day'
) AS d (midnight)
CROSS JOIN LATERAL sums(
    i.id, one.id, true, day_start(d.midnight::date, zone), day_start(d.midnight::date + 1, zone)
) AS s
INNER JOIN contacts AS c ON c.id = s.contact_id
WHERE
    (daily.instance_id IS NULL OR i.name = daily.instance_id)
    AND (daily.phone IS NULL OR one.id IS NOT NULL)
$$;
-- +goose StatementEnd

COMMENT ON FUNCTION analytics.spans(timestamptz, timestamptz) IS 'The spans that start in [from_time, to_time)';
COMMENT ON FUNCTION analytics.visits(timestamptz, timestamptz) IS 'The visits that start in [from_time, to_time)';
COMMENT ON FUNCTION analytics.daily(text, date, date, text, text) IS
'The view daily from first_day to last_day, both included, in a time zone and for one instance or contact; NULL: the instance''s zone, any';

-- Who may do nothing with schema analytics cannot name what is in it, and for who can, the views choose the rows.
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    status_name, asking_role, event_id, day_start, first_heard, contact_spans, contact_visits, present_contacts, sums
TO PUBLIC;

-- +goose Down
DROP SCHEMA analytics CASCADE;
DROP FUNCTION sums, present_contacts, contact_visits, contact_spans, first_heard, day_start, event_id;
DROP VIEW visible_contacts, visible_instances;
DROP FUNCTION asking_role;
DROP TABLE analysts;
