-- +goose Up

-- Schema analytics: views for people with psql, Metabase or Grafana (docs/analytics.md). They are an interface: columns may
-- be added, not renamed. A role sees only the instances that the table analysts grants it.
--
-- Tables in a view are read with the rights of the view's owner, but functions in it run with those of the caller. So a
-- function that reads the service's tables is SECURITY DEFINER and checks by itself what the caller may see.

-- Such a function finds the tables here, whatever the caller's search_path is.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
'What contacts did, for analysts. Times are timestamptz; lengths are seconds, to the microsecond';

-- The role that runs the query; inside a SECURITY DEFINER function, current_user is its owner.
-- +goose StatementBegin
CREATE FUNCTION calling_role() RETURNS name
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(nullif(current_setting('role'), 'none')::name, session_user);
-- +goose StatementEnd

CREATE VIEW visible_instances AS
SELECT i.id, i.name, coalesce(i.time_zone, (SELECT s.time_zone FROM settings AS s)) AS time_zone
FROM instances AS i
WHERE
    has_table_privilege(calling_role(), 'events'::regclass, 'SELECT')
    OR EXISTS (
        SELECT FROM analysts AS a
        WHERE a.role_name = calling_role() AND (a.instance = i.name OR a.instance IS NULL)
    );
COMMENT ON VIEW visible_instances IS 'The instances that the caller may see: all, for a role that can read events anyway';

-- The contacts that the caller may see, for functions: the planner can look up single ones by id.
CREATE VIEW visible_contacts AS
SELECT c.id, c.instance_id, i.name AS instance_name, i.time_zone, c.phone
FROM visible_instances AS i
INNER JOIN contacts AS c ON c.instance_id = i.id;

-- The same for views: a caller's own function in a filter sees no other contacts. The barrier is here because PostgreSQL
-- drops that of a view that is a UNION ALL.
CREATE VIEW guarded_contacts WITH (security_barrier) AS
SELECT * FROM visible_contacts;

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

-- The first moment of a day in a time zone: the first midnight if the clocks show it twice, and where they skip it, the
-- moment when they do. Only where the clocks change in the three hours before is each minute tried.
-- +goose StatementBegin
CREATE FUNCTION day_start(day date, time_zone text) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT min(moment)
    FROM (SELECT day::timestamp AT TIME ZONE time_zone AS last) AS m
    CROSS JOIN LATERAL generate_series(
        CASE
            WHEN (last - interval '3 h') AT TIME ZONE time_zone + interval '3 h' = last AT TIME ZONE time_zone THEN last
            ELSE last - interval '3 h'
        END,
        last,
        interval '1 min'
    ) AS moment
    WHERE moment AT TIME ZONE time_zone >= day::timestamp
);
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION seconds_between(start_at timestamptz, end_at timestamptz) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN extract(EPOCH FROM end_at - start_at);
-- +goose StatementEnd

-- The part of an interval in each day of a time zone.
-- +goose StatementBegin
CREATE FUNCTION day_pieces(started_at timestamptz, until timestamptz, confirmed_until timestamptz, time_zone text)
RETURNS TABLE (day date, starts integer, micros bigint, confirmed_micros bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    d::date,
    (started_at >= b.starts_at)::integer,
    micros_between(greatest(started_at, b.starts_at), least(until, b.ends_at)),
    micros_between(greatest(started_at, b.starts_at), least(confirmed_until, b.ends_at))
FROM generate_series(
    (started_at AT TIME ZONE time_zone)::date - 1, (until AT TIME ZONE time_zone)::date + 1, interval '1 day'
) AS d
CROSS JOIN LATERAL (
    SELECT day_start(d::date, time_zone) AS starts_at, day_start(d::date + 1, time_zone) AS ends_at OFFSET 0
) AS b
WHERE started_at < b.ends_at AND (until > b.starts_at OR started_at >= b.starts_at);
END;
-- +goose StatementEnd

-- A contact's spans around a range.
-- +goose StatementBegin
CREATE FUNCTION visible_spans(contact integer, range_start timestamptz, range_end timestamptz)
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
    seconds_between(s.started_at, s.until),
    coalesce(seconds_between(s.confirmed_from, s.confirmed_until), 0.000000),
    s.events,
    s.ended_by
FROM visible_contacts AS c
CROSS JOIN LATERAL spans(c.id, range_start, range_end, now()) AS s
WHERE c.id = contact
$$;
-- +goose StatementEnd

-- The fresh intervals of all contacts that the caller may see.
-- +goose StatementBegin
CREATE FUNCTION visible_fresh_intervals()
RETURNS TABLE (
    instance_name text,
    phone text,
    time_zone text,
    measure "char",
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    confirmed_until timestamptz,
    ended_by "char",
    events integer
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT
    c.instance_name,
    c.phone,
    c.time_zone,
    f.measure,
    f.started_at,
    CASE WHEN f.ended_by <> 'o' THEN f.ended_at END,
    f.ended_at,
    f.confirmed_until,
    f.ended_by,
    f.events
FROM
    fresh_intervals(
        ARRAY(SELECT n.contact_id FROM fresh_contacts AS n INNER JOIN visible_contacts AS v ON v.id = n.contact_id), now()
    ) AS f
INNER JOIN visible_contacts AS c ON c.id = f.contact_id
$$;
-- +goose StatementEnd

-- Of the intervals that the caller may see, those to add to interval_sums (fresh ones, sign 1) and to subtract (invalidated
-- ones, sign -1).
-- +goose StatementBegin
CREATE FUNCTION visible_sum_changes()
RETURNS TABLE (
    instance_name text,
    time_zone text,
    measure "char",
    started_at timestamptz,
    until timestamptz,
    confirmed_until timestamptz,
    sign integer
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT f.instance_name, f.time_zone, f.measure, f.started_at, f.until, f.confirmed_until, 1
FROM visible_fresh_intervals() AS f
UNION ALL
SELECT c.instance_name, c.time_zone, i.measure, i.started_at, i.ended_at, i.confirmed_until, -1
FROM contact_states AS s
INNER JOIN visible_contacts AS c ON c.id = s.contact_id
INNER JOIN intervals AS i
    ON i.contact_id = s.contact_id AND i.measure = ANY('{r,t,v}'::"char" []) AND i.started_at > s.checkpoint
WHERE s.checkpoint IS NOT NULL
$$;
-- +goose StatementEnd

-- The current status of contacts with events that contact_states does not cover.
-- +goose StatementBegin
CREATE FUNCTION visible_unsettled_status()
RETURNS TABLE (
    contact_id integer, instance_name text, phone text, status smallint, since timestamptz, first_event_at timestamptz, last_event_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT s.contact_id, c.instance_name, c.phone, s.status, s.since, s.first_event_at, s.last_event_at
FROM
    contact_status(
        ARRAY(SELECT u.contact_id FROM unsettled_contacts AS u INNER JOIN visible_contacts AS v ON v.id = u.contact_id), now()
    ) AS s
INNER JOIN visible_contacts AS c ON c.id = s.contact_id
$$;
-- +goose StatementEnd

-- The days from the first interval to today, once for all instances of the same time zone.
-- +goose StatementBegin
CREATE FUNCTION visible_days() RETURNS TABLE (time_zone text, instance_ids integer [], day date)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT z.time_zone, z.instance_ids, d::date
FROM (SELECT i.time_zone, array_agg(i.id) AS instance_ids FROM visible_instances AS i GROUP BY i.time_zone) AS z
CROSS JOIN LATERAL generate_series(
    date_trunc('day', first_month('intervals') AT TIME ZONE z.time_zone), now() AT TIME ZONE z.time_zone, interval '1 day'
) AS d
$$;
-- +goose StatementEnd

-- Those days, and when they begin and end. A filter on the day is applied before that is computed.
CREATE VIEW visible_day_bounds AS
SELECT d.instance_ids, d.day, b.starts_at, b.ends_at
FROM visible_days() AS d
CROSS JOIN LATERAL (
    SELECT day_start(d.day, d.time_zone) AS starts_at, day_start(d.day + 1, d.time_zone) AS ends_at OFFSET 0
) AS b;

-- +goose StatementBegin
CREATE FUNCTION visible_hours() RETURNS TABLE (hour timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT generate_series(first_month('intervals'), now(), interval '1 h')
$$;
-- +goose StatementEnd

-- Each arm of these views joins guarded_contacts by itself: so a filter on a contact, an instance or a time reaches the
-- tables, and the planner chooses the key for one contact and the BRIN index for a range of time.

-- The intervals that the caller may see.
CREATE VIEW visible_intervals AS
SELECT
    c.instance_name,
    c.phone,
    i.measure,
    i.started_at,
    i.ended_at,
    seconds_between(i.started_at, i.ended_at) AS seconds,
    seconds_between(i.started_at, i.confirmed_until) AS confirmed_seconds,
    i.events,
    ended_by_name(i.ended_by) AS ended_by
FROM stored_intervals AS i
INNER JOIN guarded_contacts AS c ON c.id = i.contact_id
UNION ALL
SELECT
    f.instance_name,
    f.phone,
    f.measure,
    f.started_at,
    f.ended_at,
    seconds_between(f.started_at, f.until),
    seconds_between(f.started_at, f.confirmed_until),
    f.events,
    ended_by_name(f.ended_by)
FROM visible_fresh_intervals() AS f;

-- The parts of them in each hour, UTC.
CREATE VIEW visible_hour_pieces AS
SELECT
    c.instance_name,
    c.phone,
    hour_of(i.started_at) AS hour,
    i.measure,
    micros_between(i.started_at, least(i.ended_at, hour_of(i.started_at) + interval '1 h')) AS micros,
    micros_between(i.started_at, least(i.confirmed_until, hour_of(i.started_at) + interval '1 h')) AS confirmed_micros,
    1 AS starts
FROM stored_intervals AS i
INNER JOIN guarded_contacts AS c ON c.id = i.contact_id
UNION ALL
SELECT
    c.instance_name,
    c.phone,
    h.hour,
    i.measure,
    micros_between(h.hour, least(i.ended_at, h.hour + interval '1 h')),
    micros_between(h.hour, least(i.confirmed_until, h.hour + interval '1 h')),
    0
FROM visible_hours() AS h
INNER JOIN stored_intervals AS i
    ON crosses_hour(i.started_at, i.ended_at) AND tstzrange(i.started_at, i.ended_at, '()') @> h.hour
INNER JOIN guarded_contacts AS c ON c.id = i.contact_id
UNION ALL
SELECT f.instance_name, f.phone, hour_of(p.quarter), f.measure, p.micros, p.confirmed_micros, p.starts
FROM visible_fresh_intervals() AS f
CROSS JOIN LATERAL quarter_pieces(f.started_at, f.until, f.confirmed_until) AS p;

-- The parts of them in each day of the instance's time zone: of those that start in it, or between the last full hour and
-- its beginning; of those that contain that hour's beginning; and of the fresh ones.
CREATE VIEW visible_day_pieces AS
SELECT
    c.instance_name,
    c.phone,
    d.day,
    i.measure,
    micros_between(greatest(i.started_at, d.starts_at), least(i.ended_at, d.ends_at)) AS micros,
    micros_between(greatest(i.started_at, d.starts_at), least(i.confirmed_until, d.ends_at)) AS confirmed_micros,
    (i.started_at >= d.starts_at)::integer AS starts
FROM visible_day_bounds AS d
INNER JOIN stored_intervals AS i
    ON i.instance_id = ANY(d.instance_ids)
    AND i.started_at >= hour_of(d.starts_at) AND i.started_at < d.ends_at AND i.ended_at > d.starts_at
INNER JOIN guarded_contacts AS c ON c.id = i.contact_id
UNION ALL
SELECT
    c.instance_name,
    c.phone,
    d.day,
    i.measure,
    micros_between(d.starts_at, least(i.ended_at, d.ends_at)),
    micros_between(d.starts_at, least(i.confirmed_until, d.ends_at)),
    0
FROM visible_day_bounds AS d
INNER JOIN stored_intervals AS i
    ON i.instance_id = ANY(d.instance_ids)
    AND crosses_hour(i.started_at, i.ended_at) AND tstzrange(i.started_at, i.ended_at, '()') @> hour_of(d.starts_at)
    AND i.ended_at > d.starts_at
INNER JOIN guarded_contacts AS c ON c.id = i.contact_id
UNION ALL
SELECT f.instance_name, f.phone, p.day, f.measure, p.micros, p.confirmed_micros, p.starts
FROM visible_fresh_intervals() AS f
CROSS JOIN LATERAL day_pieces(f.started_at, f.until, f.confirmed_until, f.time_zone) AS p;

-- The parts of the intervals of all contacts of an instance in an hour, and in a day of the instance's time zone. Days begin
-- with a quarter of an hour, UTC, in every time zone of this century.
CREATE VIEW visible_instance_hour_pieces AS
SELECT i.name AS instance_name, s.hour, s.measure, s.micros, s.confirmed_micros, s.starts
FROM visible_instances AS i
INNER JOIN interval_sums AS s ON s.instance_id = i.id
UNION ALL
SELECT c.instance_name, hour_of(p.quarter), c.measure, c.sign * p.micros, c.sign * p.confirmed_micros, c.sign * p.starts
FROM visible_sum_changes() AS c
CROSS JOIN LATERAL quarter_pieces(c.started_at, c.until, c.confirmed_until) AS p;

CREATE VIEW visible_instance_day_pieces AS
SELECT i.name AS instance_name, d.day, s.measure, s.micros, s.confirmed_micros, s.starts
FROM visible_day_bounds AS d
INNER JOIN interval_sums AS s
    ON s.instance_id = ANY(d.instance_ids)
    AND s.hour >= hour_of(d.starts_at) AND s.hour < d.ends_at
    AND s.quarter >= d.starts_at AND s.quarter < d.ends_at
INNER JOIN visible_instances AS i ON i.id = s.instance_id
UNION ALL
SELECT c.instance_name, p.day, c.measure, c.sign * p.micros, c.sign * p.confirmed_micros, c.sign * p.starts
FROM visible_sum_changes() AS c
CROSS JOIN LATERAL day_pieces(c.started_at, c.until, c.confirmed_until, c.time_zone) AS p;

CREATE VIEW analytics.instances WITH (security_barrier) AS
SELECT i.name AS instance_id, i.time_zone, e.first_event_at, e.last_event_at
FROM visible_instances AS i
INNER JOIN (
    SELECT c.instance_id, min(s.first_event_at) AS first_event_at, max(s.last_event_at) AS last_event_at
    FROM guarded_contacts AS c
    INNER JOIN (
        SELECT s.contact_id, s.first_event_at, s.last_event_at FROM contact_states AS s WHERE s.status IS NOT NULL
        UNION ALL
        SELECT u.contact_id, u.first_event_at, u.last_event_at FROM visible_unsettled_status() AS u
    ) AS s ON s.contact_id = c.id
    GROUP BY c.instance_id
) AS e ON e.instance_id = i.id;

CREATE VIEW visible_status AS
SELECT c.instance_name, c.phone, n.status, n.since, s.first_event_at, s.last_event_at
FROM guarded_contacts AS c
INNER JOIN contact_states AS s ON s.contact_id = c.id
INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
CROSS JOIN LATERAL status_of(s, now(), t) AS n
WHERE
    s.status IS NOT NULL
    AND NOT EXISTS (SELECT FROM visible_unsettled_status() AS u WHERE u.contact_id = c.id)
UNION ALL
SELECT u.instance_name, u.phone, u.status, u.since, u.first_event_at, u.last_event_at
FROM visible_unsettled_status() AS u;

CREATE VIEW analytics.contacts WITH (security_barrier) AS
SELECT instance_name AS instance_id, phone, first_event_at, last_event_at
FROM visible_status;

CREATE VIEW analytics.current_status WITH (security_barrier) AS
SELECT instance_name AS instance_id, phone, status_name(status) AS status, since
FROM visible_status;

CREATE VIEW analytics.events WITH (security_barrier) AS
SELECT
    c.instance_name AS instance_id,
    c.phone,
    e.received_at,
    status_name(e.status) AS status,
    e.last_seen,
    e.extra,
    event_id(e.received_at, e.seq) AS event_id
FROM guarded_contacts AS c
INNER JOIN events AS e ON e.contact_id = c.id;

CREATE VIEW analytics.spans WITH (security_barrier) AS
SELECT c.instance_name AS instance_id, c.phone, s.*
FROM guarded_contacts AS c
CROSS JOIN LATERAL visible_spans(c.id, '-infinity', 'infinity') AS s;

CREATE VIEW analytics.intervals WITH (security_barrier) AS
SELECT
    instance_name AS instance_id,
    phone,
    measure_name(measure) AS measure,
    started_at,
    ended_at,
    seconds,
    confirmed_seconds,
    events,
    ended_by
FROM visible_intervals;

CREATE VIEW analytics.typing WITH (security_barrier) AS
SELECT instance_name AS instance_id, phone, started_at, ended_at, seconds, confirmed_seconds, events, ended_by
FROM visible_intervals
WHERE measure = 't';

CREATE VIEW analytics.recording WITH (security_barrier) AS
SELECT instance_name AS instance_id, phone, started_at, ended_at, seconds, confirmed_seconds, events, ended_by
FROM visible_intervals
WHERE measure = 'r';

CREATE VIEW analytics.visits WITH (security_barrier) AS
SELECT instance_name AS instance_id, phone, started_at, ended_at, seconds, confirmed_seconds, events, ended_by
FROM visible_intervals
WHERE measure = 'v';

-- +goose StatementBegin
DO $$
DECLARE
    v record;
BEGIN
    FOR v IN
        SELECT *
        FROM (
            VALUES
            ('hourly', 'p.phone, p.hour', 'visible_hour_pieces'),
            ('daily', 'p.phone, p.day', 'visible_day_pieces'),
            ('instance_hourly', 'p.hour', 'visible_instance_hour_pieces'),
            ('instance_daily', 'p.day', 'visible_instance_day_pieces')
        ) AS v (name, per, pieces)
    LOOP
        EXECUTE format($view$
            CREATE VIEW analytics.%1$I WITH (security_barrier) AS
            SELECT
                p.instance_name AS instance_id,
                %2$s,
                coalesce(sum(p.micros) FILTER (WHERE p.measure = 't'), 0) * 0.000001 AS typing_seconds,
                coalesce(sum(p.confirmed_micros) FILTER (WHERE p.measure = 't'), 0) * 0.000001 AS typing_confirmed_seconds,
                coalesce(sum(p.starts) FILTER (WHERE p.measure = 't'), 0) AS typing_count,
                coalesce(sum(p.micros) FILTER (WHERE p.measure = 'r'), 0) * 0.000001 AS recording_seconds,
                coalesce(sum(p.confirmed_micros) FILTER (WHERE p.measure = 'r'), 0) * 0.000001 AS recording_confirmed_seconds,
                coalesce(sum(p.starts) FILTER (WHERE p.measure = 'r'), 0) AS recording_count,
                coalesce(sum(p.micros) FILTER (WHERE p.measure = 'v'), 0) * 0.000001 AS in_chat_seconds,
                coalesce(sum(p.confirmed_micros) FILTER (WHERE p.measure = 'v'), 0) * 0.000001 AS in_chat_confirmed_seconds,
                coalesce(sum(p.starts) FILTER (WHERE p.measure = 'v'), 0) AS visit_count
            FROM %3$I AS p
            GROUP BY p.instance_name, %2$s
            HAVING sum(p.starts) > 0 OR sum(p.micros) > 0
            $view$, v.name, v.per, v.pieces);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Functions with the names of views, for queries that need parameters. The default end is a day after now, since a receiver's
-- clock may be ahead.

-- +goose StatementBegin
CREATE FUNCTION analytics.spans(from_time timestamptz, to_time timestamptz) RETURNS SETOF analytics.spans
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT c.instance_name, c.phone, s.*
FROM
    active_contacts(
        from_time - (SELECT max(greatest(t.typing, t.recording) + t.presence) FROM timeouts AS t) - interval '1 microsecond',
        to_time
    ) AS a
INNER JOIN visible_contacts AS c ON c.id = a.contact_id
CROSS JOIN LATERAL visible_spans(c.id, from_time, to_time) AS s
WHERE s.started_at >= from_time
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION analytics.visits(from_time timestamptz, to_time timestamptz) RETURNS SETOF analytics.visits
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT v.*
FROM analytics.visits AS v
WHERE v.started_at >= from_time AND v.started_at < to_time
$$;
-- +goose StatementEnd

CREATE TYPE measure_sums AS (
    typing_seconds numeric,
    typing_confirmed_seconds numeric,
    typing_count bigint,
    recording_seconds numeric,
    recording_confirmed_seconds numeric,
    recording_count bigint,
    in_chat_seconds numeric,
    in_chat_confirmed_seconds numeric,
    visit_count bigint
);

-- The parts of an instance's intervals, or of one contact's, between bounds; bucket 1 begins with the first.
-- +goose StatementBegin
CREATE FUNCTION visible_sums(instance integer, contact integer, bounds timestamptz [])
RETURNS TABLE (phone text, bucket integer, sums measure_sums)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT
    c.phone,
    p.bucket,
    ROW(
        coalesce(sum(p.micros) FILTER (WHERE p.measure = 't'), 0) * 0.000001,
        coalesce(sum(p.confirmed_micros) FILTER (WHERE p.measure = 't'), 0) * 0.000001,
        coalesce(sum(p.starts) FILTER (WHERE p.measure = 't'), 0),
        coalesce(sum(p.micros) FILTER (WHERE p.measure = 'r'), 0) * 0.000001,
        coalesce(sum(p.confirmed_micros) FILTER (WHERE p.measure = 'r'), 0) * 0.000001,
        coalesce(sum(p.starts) FILTER (WHERE p.measure = 'r'), 0),
        coalesce(sum(p.micros) FILTER (WHERE p.measure = 'v'), 0) * 0.000001,
        coalesce(sum(p.confirmed_micros) FILTER (WHERE p.measure = 'v'), 0) * 0.000001,
        coalesce(sum(p.starts) FILTER (WHERE p.measure = 'v'), 0)
    )::measure_sums
FROM (
    SELECT i.contact_id, i.measure, p.*
    FROM (
        SELECT s.*
        FROM stored_within(instance, bounds[1], bounds[cardinality(bounds)]) AS s
        WHERE contact IS NULL
        UNION ALL
        SELECT f.*
        FROM fresh_intervals(fresh_contact_ids(instance), now()) AS f
        WHERE contact IS NULL
        UNION ALL
        SELECT o.*
        FROM contact_intervals(ARRAY[contact], bounds[1], bounds[cardinality(bounds)], now()) AS o
        WHERE contact IS NOT NULL
    ) AS i
    CROSS JOIN LATERAL bucket_pieces(i.started_at, i.ended_at, i.confirmed_until, bounds) AS p
) AS p
INNER JOIN visible_contacts AS c ON c.id = p.contact_id AND c.instance_id = instance
WHERE p.micros > 0 OR p.starts > 0
GROUP BY c.phone, p.bucket
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
    s.phone,
    b.days[s.bucket],
    (s.sums).*
FROM visible_instances AS i
LEFT JOIN contacts AS one ON one.instance_id = i.id AND one.phone = daily.phone
CROSS JOIN LATERAL (
    -- A day that does not exist in the time zone begins with the next one.
    SELECT array_agg(d.day ORDER BY d.day) AS days, array_agg(d.starts_at ORDER BY d.day) AS bounds
    FROM (
        SELECT DISTINCT ON (day_start(g::date, coalesce(daily.time_zone, i.time_zone)))
            g::date AS day,
            day_start(g::date, coalesce(daily.time_zone, i.time_zone)) AS starts_at
        FROM generate_series(
            greatest(date_trunc('day', first_month('intervals') AT TIME ZONE coalesce(daily.time_zone, i.time_zone)), first_day),
            least((now() + interval '1 day') AT TIME ZONE coalesce(daily.time_zone, i.time_zone), last_day) + interval '1 day',
            interval '1 day'
        ) AS g
        ORDER BY day_start(g::date, coalesce(daily.time_zone, i.time_zone)), g DESC
    ) AS d
) AS b
CROSS JOIN LATERAL visible_sums(i.id, one.id, b.bounds) AS s
WHERE
    (daily.instance_id IS NULL OR i.name = daily.instance_id)
    AND (daily.phone IS NULL OR one.id IS NOT NULL)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION analytics.hourly(
    from_time timestamptz DEFAULT NULL,
    to_time timestamptz DEFAULT NULL,
    instance_id text DEFAULT NULL,
    phone text DEFAULT NULL
)
RETURNS SETOF analytics.hourly
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT
    i.name,
    s.phone,
    b.bounds[s.bucket],
    (s.sums).*
FROM visible_instances AS i
LEFT JOIN contacts AS one ON one.instance_id = i.id AND one.phone = hourly.phone
CROSS JOIN (
    SELECT array_agg(h ORDER BY h) AS bounds
    FROM generate_series(
        hour_of(greatest(from_time, first_month('intervals'))),
        hour_of(least(to_time - interval '1 microsecond', now() + interval '1 day')) + interval '1 h',
        interval '1 h'
    ) AS h
) AS b
CROSS JOIN LATERAL visible_sums(i.id, one.id, b.bounds) AS s
WHERE
    (hourly.instance_id IS NULL OR i.name = hourly.instance_id)
    AND (hourly.phone IS NULL OR one.id IS NOT NULL)
$$;
-- +goose StatementEnd

COMMENT ON FUNCTION analytics.spans(timestamptz, timestamptz) IS 'The spans that start in [from_time, to_time)';
COMMENT ON FUNCTION analytics.visits(timestamptz, timestamptz) IS 'The visits that start in [from_time, to_time)';
COMMENT ON FUNCTION analytics.daily(text, date, date, text, text) IS
'The view daily from first_day to last_day, both included, in a time zone and for one instance or contact; NULL: the instance''s time zone, any';
COMMENT ON FUNCTION analytics.hourly(timestamptz, timestamptz, text, text) IS
'The view hourly, whole hours around [from_time, to_time), for one instance or contact; NULL: any';

COMMENT ON VIEW analytics.instances IS 'The connected numbers with events';
COMMENT ON VIEW analytics.contacts IS 'The contacts with events';
COMMENT ON VIEW analytics.current_status IS 'What every contact does now';
COMMENT ON VIEW analytics.events IS 'Every presence event as it was received';
COMMENT ON VIEW analytics.spans IS
'Spans of time in which a contact had one status. Computed from events: filter by phone, or use analytics.spans(from_time, to_time)';
COMMENT ON VIEW analytics.intervals IS 'Typing, recording and visits, one row each';
COMMENT ON VIEW analytics.typing IS 'Spans of COMPOSING: a contact typed';
COMMENT ON VIEW analytics.recording IS 'Spans of RECORDING: a contact recorded audio';
COMMENT ON VIEW analytics.visits IS 'When a contact was in the chat: adjoining spans with a status other than UNAVAILABLE';
COMMENT ON VIEW analytics.hourly IS 'What each contact did in each hour in which it did something';
COMMENT ON VIEW analytics.daily IS 'What each contact did on each day on which it did something';
COMMENT ON VIEW analytics.instance_hourly IS 'What all contacts of an instance did in each hour in which one did something';
COMMENT ON VIEW analytics.instance_daily IS 'What all contacts of an instance did on each day on which one did something';

-- The same column means the same in every view.
-- +goose StatementBegin
DO $$
DECLARE
    comment record;
BEGIN
    FOR comment IN
        SELECT c.table_name, m.column_name, m.meaning
        FROM (
            VALUES
            ('instance_id', 'the connected number, as its gateway names it'),
            ('phone', 'the contact within the instance, as the gateway names it'),
            ('time_zone', 'the time zone of its days in daily and instance_daily'),
            ('first_event_at', 'when its first event was received'),
            ('last_event_at', 'when its last event was received'),
            ('status', 'AVAILABLE, UNAVAILABLE, COMPOSING (typing), PAUSED (stopped typing) or RECORDING'),
            ('since', 'when the status began'),
            ('received_at', 'when the event was received'),
            ('last_seen', 'lastSeen as sent; its unit differs between gateways'),
            ('extra', 'the fields that presencelog does not know, as sent; NULL if there were none'),
            ('event_id', 'identifies it among the contact''s events; the id in the API'),
            ('measure', 'typing, recording or inChat (a visit)'),
            ('started_at', 'when it began'),
            ('ended_at', 'when it ended; NULL while it lasts'),
            ('seconds', 'its length, the upper bound; up to now while it lasts'),
            ('confirmed_seconds', 'the part of its length that events confirm, the lower bound'),
            ('events', 'how many events set or renewed the status within it'),
            ('ended_by', 'event, timeout (nothing renewed the status) or open (it still lasts)'),
            ('hour', 'when the hour began; hours are full hours of UTC'),
            ('day', 'the date in the instance''s time zone'),
            ('typing_seconds', 'time spent typing'),
            ('typing_confirmed_seconds', 'the part of typing_seconds that events confirm'),
            ('typing_count', 'how many typing intervals began'),
            ('recording_seconds', 'time spent recording audio'),
            ('recording_confirmed_seconds', 'the part of recording_seconds that events confirm'),
            ('recording_count', 'how many recording intervals began'),
            ('in_chat_seconds', 'time spent in the chat'),
            ('in_chat_confirmed_seconds', 'the part of in_chat_seconds that events confirm'),
            ('visit_count', 'how many visits began')
        ) AS m (column_name, meaning)
        INNER JOIN information_schema.columns AS c ON c.table_schema = 'analytics' AND c.column_name = m.column_name
    LOOP
        EXECUTE format('COMMENT ON COLUMN analytics.%I.%I IS %L', comment.table_name, comment.column_name, comment.meaning);
    END LOOP;
END
$$;
-- +goose StatementEnd

-- No role is named here or later, so that a dump can be restored where these roles do not exist. A role that is not in the
-- table analysts gets no row.
GRANT USAGE ON SCHEMA analytics TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO PUBLIC;
GRANT EXECUTE ON FUNCTION
    status_name, status_of, status_before, pauses_at, leaves_at, measure_name, ended_by_name, hour_of, quarter_of,
    quarter_pieces, crosses_hour, micros_between,
    seconds_between, calling_role, event_id, day_start, day_pieces, visible_days, visible_hours, visible_spans,
    visible_fresh_intervals, visible_sum_changes, visible_unsettled_status
TO PUBLIC;
-- It computes before it filters, so an error could reveal that other instances have intervals.
REVOKE EXECUTE ON FUNCTION visible_sums FROM PUBLIC;

-- +goose Down
DROP SCHEMA analytics CASCADE;
DROP FUNCTION visible_sums;
DROP TYPE measure_sums;
DROP VIEW visible_instance_day_pieces, visible_instance_hour_pieces, visible_status, visible_day_pieces, visible_hour_pieces, visible_intervals;
DROP VIEW visible_day_bounds;
DROP FUNCTION visible_hours, visible_days, visible_unsettled_status, visible_sum_changes, visible_fresh_intervals, visible_spans;
DROP FUNCTION day_pieces, seconds_between, day_start, event_id;
DROP VIEW guarded_contacts, visible_contacts, visible_instances;
DROP FUNCTION calling_role;
