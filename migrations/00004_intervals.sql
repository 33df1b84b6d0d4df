-- +goose Up

-- Intervals: one row for each finished typing interval, recording interval and visit. They follow from the events alone
-- (00002_spans.sql has the rules) and can be rebuilt at any time. Three facts keep them correct:
--
--   * watermark: everything that ended up to it is stored, except for contacts whose checkpoint is earlier.
--   * checkpoint: a contact whose events arrive late is reset to a point before them. Its intervals that start after the
--     checkpoint are invalidated; the next refresh replaces them.
--   * What is not stored is computed by each query: fresh_intervals() continues from contact_states, which has the state at
--     the watermark or the checkpoint, so it reads only the events after it.
--
-- So each query reads stored_intervals plus fresh_intervals(), in one snapshot, and is complete up to now.
--
-- How they are kept current is in 00005_refresh.sql, how they are summed up in 00006_sums.sql.

CREATE TABLE interval_progress (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cutoff timestamptz NOT NULL DEFAULT now(),
    watermark timestamptz NOT NULL DEFAULT now(),
    CHECK (watermark <= cutoff)
);
COMMENT ON COLUMN interval_progress.cutoff IS 'An event received up to here is late: its transaction calls mark_late';
COMMENT ON COLUMN interval_progress.watermark IS 'Intervals that ended up to here are stored';
INSERT INTO interval_progress DEFAULT VALUES;

-- Eight-byte columns first and one-byte codes last: a row takes 68 bytes with its line pointer.
CREATE TABLE intervals (
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    confirmed_until timestamptz NOT NULL,
    contact_id integer NOT NULL,
    instance_id integer NOT NULL,
    events integer NOT NULL,
    measure "char" NOT NULL,
    ended_by "char" NOT NULL,
    outcome "char" NOT NULL DEFAULT '-',
    PRIMARY KEY (contact_id, measure, started_at)
) PARTITION BY RANGE (started_at);
COMMENT ON TABLE intervals IS 'Finished typing intervals, recording intervals and visits; partitioned by calendar month, UTC';
COMMENT ON COLUMN intervals.confirmed_until IS 'The confirmed part is [started_at, confirmed_until): only an event starts an interval';
COMMENT ON COLUMN intervals.events IS 'How many events set or renewed the status within it';
COMMENT ON COLUMN intervals.measure IS 't typing, r recording, v visit';
COMMENT ON COLUMN intervals.ended_by IS 'e event, t timeout, m message, g gap; of fresh_intervals also o, open';
COMMENT ON COLUMN intervals.outcome IS 's sent, a abandoned, - not known';

-- +goose StatementBegin
CREATE FUNCTION measure_name(measure "char") RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE measure WHEN 't' THEN 'typing' WHEN 'r' THEN 'recording' WHEN 'v' THEN 'inChat' END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION measure_code(name text) RETURNS "char"
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE name WHEN 'typing' THEN 't' WHEN 'recording' THEN 'r' WHEN 'inChat' THEN 'v' END::"char";
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION ended_by_name(ended_by "char") RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE ended_by WHEN 'e' THEN 'event' WHEN 't' THEN 'timeout' WHEN 'm' THEN 'message' WHEN 'g' THEN 'gap' ELSE 'open' END;
-- +goose StatementEnd

-- The length of an interval in microseconds; 0 if end_at is not after start_at. By way of double precision, which is exact
-- for lengths up to 285 years and much faster than numeric.
-- +goose StatementBegin
CREATE FUNCTION micros_between(start_at timestamptz, end_at timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN greatest((date_part('epoch', end_at - start_at) * 1000000)::bigint, 0);
-- +goose StatementEnd

-- The full hour, UTC, that a moment lies in.
-- +goose StatementBegin
CREATE FUNCTION hour_of(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('1 hour', moment, '2000-01-01Z');
-- +goose StatementEnd

-- Whether an interval contains the beginning of an hour, or ends with it.
-- +goose StatementBegin
CREATE FUNCTION crosses_hour(started_at timestamptz, ended_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hour_of(ended_at) > started_at;
-- +goose StatementEnd

-- Rows are stored nearly in the order of started_at, so a few pages of BRIN serve every filter on it, and on the hour.
CREATE INDEX intervals_started_at ON intervals USING brin (started_at, hour_of(started_at))
WITH (pages_per_range = 16, autosummarize = on);

-- An interval that overlaps an hour starts in it or contains its beginning. The few that do are found by this index,
-- however long they are.
CREATE INDEX intervals_crossing ON intervals USING gist (tstzrange(started_at, ended_at, '()'))
WHERE crosses_hour(started_at, ended_at);

-- The stored intervals that are not invalidated.
CREATE VIEW stored_intervals AS
SELECT i.*
FROM intervals AS i
WHERE
    NOT EXISTS (
        SELECT FROM contact_states AS s
        WHERE s.contact_id = i.contact_id AND s.checkpoint IS NOT NULL AND s.checkpoint < i.started_at
    );

-- The events of these contacts that stored intervals do not cover, up to until_at, each with what precedes and follows it. The
-- first row of a contact is its stored state, as if that were an event. Of events with the same received_at only the last
-- counts.
--   after_at               everything up to it is settled
--   pauses_at, leaves_at   when the status runs out, see 00002_spans.sql
--   next_at, next_status   the contact's next event; NULL: none
--   since, span_events, span_first_event_at   of the span that the event is in: its start, its events up to this one, and the
--                          first of them; the last two are NULL where they are not known
--   visit_started_at, visit_events   the same of the visit, if the status is not UNAVAILABLE
-- +goose StatementBegin
CREATE FUNCTION steps(contact_ids integer [], until_at timestamptz)
RETURNS TABLE (
    contact_id integer,
    instance_id integer,
    after_at timestamptz,
    at timestamptz,
    status smallint,
    pauses_at timestamptz,
    leaves_at timestamptz,
    next_at timestamptz,
    next_status smallint,
    since timestamptz,
    span_events bigint,
    span_first_event_at timestamptz,
    visit_started_at timestamptz,
    visit_events bigint
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
WITH contact AS (
    SELECT
        c.id,
        c.instance_id,
        t.typing,
        t.recording,
        t.presence,
        coalesce(s.checkpoint, (SELECT p.watermark FROM interval_progress AS p)) AS after_at,
        s.last_event_at,
        s.status,
        s.since,
        s.span_events,
        s.span_first_event_at,
        s.visit_started_at,
        s.visit_events
    FROM unnest(contact_ids) AS k (id)
    INNER JOIN contacts AS c ON c.id = k.id
    INNER JOIN timeouts AS t ON t.instance_id = c.instance_id
    LEFT JOIN contact_states AS s ON s.contact_id = k.id
),

feed AS (
    SELECT
        id,
        instance_id,
        after_at,
        last_event_at AS at,
        (-1)::smallint AS seq,
        status,
        typing,
        recording,
        presence,
        since,
        span_events,
        span_first_event_at,
        visit_started_at,
        visit_events
    FROM contact
    WHERE status IS NOT NULL
    UNION ALL
    SELECT
        c.id,
        c.instance_id,
        c.after_at,
        e.received_at,
        e.seq,
        e.status,
        c.typing,
        c.recording,
        c.presence,
        NULL,
        1,
        e.received_at,
        NULL,
        1
    FROM contact AS c
    -- OFFSET 0 makes it one search of the key for each contact.
    CROSS JOIN LATERAL (
        SELECT e.received_at, e.seq, e.status
        FROM events AS e
        WHERE e.contact_id = c.id AND e.received_at > c.after_at AND e.received_at <= until_at
        OFFSET 0
    ) AS e
),

step AS (
    SELECT
        *,
        pauses_at(status, at, ROW(instance_id, typing, recording, presence)::timeouts) AS pauses_at,
        leaves_at(status, at, ROW(instance_id, typing, recording, presence)::timeouts) AS leaves_at
    FROM (SELECT *, lead(at) OVER (PARTITION BY id ORDER BY at, seq) AS following_at FROM feed) AS f
    WHERE following_at IS DISTINCT FROM at
),

placed AS (
    SELECT
        *,
        row_number() OVER w AS nth,
        lag(status) OVER w AS previous_status,
        lag(pauses_at) OVER w AS previous_pauses_at,
        lag(leaves_at) OVER w AS previous_leaves_at,
        lead(at) OVER w AS next_at,
        lead(status) OVER w AS next_status
    FROM step
    WINDOW w AS (PARTITION BY id ORDER BY at, seq)
),

-- Where spans and visits begin: at the event, or before it if a timeout had brought the same status already.
begun AS (
    SELECT
        *,
        CASE
            WHEN previous_leaves_at < at THEN CASE status WHEN 2 THEN previous_leaves_at ELSE at END
            WHEN previous_pauses_at < at THEN CASE status WHEN 4 THEN previous_pauses_at ELSE at END
            WHEN previous_status IS DISTINCT FROM status THEN coalesce(since, at)
        END AS span_begins_at,
        CASE
            WHEN status <> 2 AND (coalesce(previous_status, 2) = 2 OR previous_leaves_at < at) THEN coalesce(visit_started_at, at)
        END AS visit_begins_at
    FROM placed
)

SELECT
    id,
    instance_id,
    after_at,
    at,
    status,
    pauses_at,
    leaves_at,
    next_at,
    next_status,
    max(span_begins_at) OVER w,
    nth - max(CASE WHEN span_begins_at IS NOT NULL THEN nth - span_events END) OVER w,
    max(CASE WHEN span_begins_at IS NOT NULL THEN span_first_event_at END) OVER w,
    max(visit_begins_at) OVER w,
    nth - max(CASE WHEN visit_begins_at IS NOT NULL THEN nth - visit_events END) OVER w
FROM begun
WINDOW w AS (PARTITION BY id ORDER BY at, seq ROWS UNBOUNDED PRECEDING)
$$;
-- +goose StatementEnd

-- The intervals whose last event is this step: ended by the next event, by a timeout, or not yet (ended_at is NULL).
-- +goose StatementBegin
CREATE FUNCTION intervals_after(
    status smallint,
    at timestamptz,
    pauses_at timestamptz,
    leaves_at timestamptz,
    next_at timestamptz,
    next_status smallint,
    now timestamptz
)
RETURNS TABLE (measure "char", ended_at timestamptz, confirmed_until timestamptz, ended_by "char")
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT
    measure::"char",
    CASE
        WHEN next_at <= runs_out_at THEN next_at
        WHEN runs_out_at < coalesce(next_at, now + interval '1 microsecond') THEN runs_out_at
    END,
    CASE WHEN next_at <= runs_out_at THEN next_at ELSE at END,
    CASE WHEN next_at <= runs_out_at THEN 'e' ELSE 't' END::"char"
FROM (
    SELECT CASE status WHEN 3 THEN 't' ELSE 'r' END AS measure, pauses_at AS runs_out_at
    WHERE status IN (3, 5) AND NOT coalesce(next_status = status AND next_at <= pauses_at, false)
    UNION ALL
    SELECT 'v', leaves_at
    WHERE status <> 2 AND NOT coalesce(next_status <> 2 AND next_at <= leaves_at, false)
) AS m
$$;
-- +goose StatementEnd

-- The intervals of these contacts that are not settled: those that ended after the watermark or the contact's checkpoint,
-- and those that are not finished. Of these ended_by is o, and ended_at is now, or their start if the clock of an event is
-- ahead; no more is confirmed than up to then. The caller's clock may be behind the watermark: what is stored as ended up to it
-- is finished, whatever that clock says.
-- +goose StatementBegin
CREATE FUNCTION fresh_intervals(contact_ids integer [], now timestamptz) RETURNS SETOF intervals
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 AS $$
SELECT
    b.started_at,
    coalesce(i.ended_at, greatest(now, b.started_at)),
    least(i.confirmed_until, coalesce(i.ended_at, greatest(now, b.started_at))),
    s.contact_id,
    s.instance_id,
    (CASE i.measure WHEN 'v' THEN s.visit_events ELSE s.span_events END)::integer,
    i.measure,
    CASE WHEN i.ended_at IS NULL THEN 'o'::"char" ELSE i.ended_by END,
    '-'::"char"
FROM steps(contact_ids, 'infinity') AS s
CROSS JOIN LATERAL intervals_after(
    s.status, s.at, s.pauses_at, s.leaves_at, s.next_at, s.next_status, greatest(now, s.after_at)
) AS i
CROSS JOIN LATERAL (SELECT CASE i.measure WHEN 'v' THEN s.visit_started_at ELSE s.since END AS started_at) AS b
WHERE i.ended_at IS NULL OR i.ended_at > s.after_at
$$;
-- +goose StatementEnd

-- The contacts with an event in (range_start, range_end]. The planner does not know how short that range is, and would read the
-- whole key or table instead of the few pages in the BRIN index.
-- +goose StatementBegin
CREATE FUNCTION active_contacts(range_start timestamptz, range_end timestamptz) RETURNS TABLE (contact_id integer)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_seqscan = off AS $$
SELECT DISTINCT e.contact_id
FROM events AS e
WHERE e.received_at > range_start AND e.received_at <= range_end
$$;
-- +goose StatementEnd

-- The contacts with events that are not settled.
CREATE VIEW unsettled_contacts AS
SELECT s.contact_id
FROM contact_states AS s
WHERE s.checkpoint IS NOT NULL
UNION
SELECT a.contact_id
FROM active_contacts((SELECT p.watermark FROM interval_progress AS p), 'infinity') AS a;

-- The contacts that have fresh intervals: those, and the ones in the chat at the watermark.
CREATE VIEW fresh_contacts AS
SELECT u.contact_id
FROM unsettled_contacts AS u
UNION
SELECT s.contact_id
FROM contact_states AS s
WHERE s.visit_started_at IS NOT NULL;

-- What a contact does now, from contact_states alone; valid if it is settled and has no newer events. Views for analysts use
-- it, so its body is bound to functions now and not by the caller's search_path.
-- +goose StatementBegin
CREATE FUNCTION status_of(state contact_states, now timestamptz, t timeouts) RETURNS TABLE (status smallint, since timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT
    b.status,
    CASE b.status
        WHEN state.status THEN state.since
        WHEN 4 THEN pauses_at(state.status, state.last_event_at, t)
        ELSE leaves_at(state.status, state.last_event_at, t)
    END
FROM (SELECT status_before(now + interval '1 microsecond', state.status, state.last_event_at, t) AS status) AS b;
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION settled_status(contact integer, now timestamptz)
RETURNS TABLE (status smallint, since timestamptz, first_event_at timestamptz, last_event_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT n.status, n.since, s.first_event_at, s.last_event_at
FROM contact_states AS s
INNER JOIN timeouts AS t ON t.instance_id = s.instance_id
CROSS JOIN LATERAL status_of(s, now, t) AS n
WHERE s.contact_id = contact AND s.status IS NOT NULL
$$;
-- +goose StatementEnd

-- What each of these contacts does now and since when, and its first and last event. No row: it has no event.
-- +goose StatementBegin
CREATE FUNCTION contact_status(contact_ids integer [], now timestamptz)
RETURNS TABLE (
    contact_id integer,
    instance_id integer,
    status smallint,
    since timestamptz,
    first_event_at timestamptz,
    last_event_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 AS $$
SELECT
    s.contact_id,
    s.instance_id,
    CASE WHEN s.leaves_at <= now THEN 2::smallint WHEN s.pauses_at <= now THEN 4::smallint ELSE s.status END,
    CASE WHEN s.leaves_at <= now THEN s.leaves_at WHEN s.pauses_at <= now THEN s.pauses_at ELSE s.since END,
    coalesce(
        (SELECT c.first_event_at FROM contact_states AS c WHERE c.contact_id = s.contact_id),
        (SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = s.contact_id)
    ),
    s.at
FROM
    steps(
        ARRAY(
            SELECT k.id FROM unnest(contact_ids) AS k (id)
            WHERE NOT EXISTS (SELECT FROM contact_states AS c WHERE c.contact_id = k.id AND c.checkpoint IS NOT NULL)
        ),
        'infinity'
    ) AS s
WHERE s.next_at IS NULL
UNION ALL
-- A contact with late events may have many to read; spans reads only the last ones.
SELECT
    c.contact_id,
    c.instance_id,
    s.status,
    s.started_at,
    c.first_event_at,
    (SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.contact_id)
FROM contact_states AS c
CROSS JOIN LATERAL spans(c.contact_id, 'infinity', 'infinity', now) AS s
WHERE c.contact_id = ANY(contact_ids) AND c.checkpoint IS NOT NULL
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION contact_status, settled_status, status_of;
DROP VIEW fresh_contacts, unsettled_contacts, stored_intervals;
DROP FUNCTION active_contacts, fresh_intervals, intervals_after, steps;
DROP TABLE intervals, interval_progress;
DROP FUNCTION crosses_hour, hour_of, micros_between, ended_by_name, measure_code, measure_name;
