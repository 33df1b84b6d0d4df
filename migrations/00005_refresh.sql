-- +goose Up

-- How the stored intervals (00004_intervals.sql) follow the events: a refresh stores those that ended, and replaces those that
-- late events change.
--
-- Locking. A refresh locks the row of interval_progress, then rows of contact_states in the order of their ids. A transaction
-- that writes late events (mark_late) locks rows of contact_states in the same order, and never that of interval_progress.
-- Receivers whose events are in time lock nothing: a refresh first moves `cutoff`, then waits for the transactions that
-- may have missed that (internal/intervals), then reads up to it. A statement that changes intervals locks the rows of
-- interval_sums that it changes, in the order of their keys. A transaction that changes intervals in several statements, or
-- many, locks the row of interval_progress first, except for mark_late, whose second statement locks no other rows.

-- Stores the intervals of these contacts that ended up to until_at and are not settled yet, and the contacts' state there. The
-- caller has locked their rows.
-- +goose StatementBegin
CREATE FUNCTION store_intervals(contact_ids integer [], until_at timestamptz, next_checkpoint timestamptz) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET work_mem = '64MB' AS $$
BEGIN
    WITH step AS MATERIALIZED (
        SELECT * FROM steps(contact_ids, until_at)
    ),

    stored AS (
        INSERT INTO intervals (
            contact_id, instance_id, measure, started_at, ended_at, confirmed_until, ended_by, events
        )
        SELECT
            s.contact_id,
            s.instance_id,
            i.measure,
            CASE i.measure WHEN 'v' THEN s.visit_started_at ELSE s.since END AS started_at,
            i.ended_at,
            i.confirmed_until,
            i.ended_by,
            CASE i.measure WHEN 'v' THEN s.visit_events ELSE s.span_events END
        FROM step AS s
        CROSS JOIN LATERAL intervals_after(
            s.status, s.at, s.pauses_at, s.leaves_at, s.next_at, s.next_status, until_at
        ) AS i
        WHERE i.ended_at > s.after_at
        ORDER BY started_at
    )

    INSERT INTO contact_states AS s (
        contact_id,
        instance_id,
        checkpoint,
        first_event_at,
        last_event_at,
        status,
        since,
        span_events,
        span_first_event_at,
        visit_started_at,
        visit_events
    )
    SELECT
        l.contact_id,
        l.instance_id,
        next_checkpoint,
        f.at,
        l.at,
        l.status,
        l.since,
        l.span_events,
        l.span_first_event_at,
        CASE WHEN l.leaves_at > until_at THEN l.visit_started_at END,
        CASE WHEN l.leaves_at > until_at THEN l.visit_events END
    FROM step AS l
    INNER JOIN (SELECT contact_id, min(at) AS at FROM step GROUP BY contact_id) AS f ON f.contact_id = l.contact_id
    WHERE l.next_at IS NULL
    ON CONFLICT (contact_id) DO UPDATE SET
        checkpoint = excluded.checkpoint,
        first_event_at = least(s.first_event_at, excluded.first_event_at),
        last_event_at = excluded.last_event_at,
        status = excluded.status,
        since = excluded.since,
        span_events = excluded.span_events,
        span_first_event_at = excluded.span_first_event_at,
        visit_started_at = excluded.visit_started_at,
        visit_events = excluded.visit_events;

    -- Contacts that have no event.
    UPDATE contact_states AS s SET checkpoint = next_checkpoint
    WHERE s.contact_id = ANY(contact_ids) AND s.checkpoint IS DISTINCT FROM next_checkpoint;
END
$$;
-- +goose StatementEnd

-- Moves the watermark to until_at, which is at most the cutoff, and stores what ended meanwhile. The caller has locked the
-- row of interval_progress, and waited for the transactions that began before the cutoff was moved there.
-- +goose StatementBegin
CREATE FUNCTION refresh_intervals(until_at timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    ids integer [];
BEGIN
    ids := ARRAY(
        SELECT contact_id FROM active_contacts((SELECT watermark FROM interval_progress), until_at)
        UNION
        SELECT contact_id FROM contact_states WHERE visit_started_at IS NOT NULL
    );
    INSERT INTO contact_states (contact_id, instance_id)
    SELECT c.id, c.instance_id
    FROM contacts AS c
    WHERE c.id = ANY(ids) AND NOT EXISTS (SELECT FROM contact_states AS s WHERE s.contact_id = c.id)
    ORDER BY c.id
    ON CONFLICT DO NOTHING;
    -- Contacts with late events are left to refresh_late_intervals.
    ids := ARRAY(
        SELECT contact_id
        FROM contact_states
        WHERE contact_id = ANY(ids) AND checkpoint IS NULL
        ORDER BY contact_id
        FOR UPDATE
    );
    PERFORM store_intervals(ids, until_at, NULL);
    UPDATE interval_progress SET watermark = until_at;
END
$$;
-- +goose StatementEnd

-- Replaces the invalidated intervals up to until_at, which is at most the watermark, of the contacts with an earlier
-- checkpoint, and returns how many contacts that were. The caller has locked the row of interval_progress.
-- +goose StatementBegin
CREATE FUNCTION refresh_late_intervals(until_at timestamptz) RETURNS integer
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    settled_until timestamptz := (SELECT watermark FROM interval_progress);
    ids integer [];
BEGIN
    ids := ARRAY(
        SELECT contact_id
        FROM contact_states
        WHERE checkpoint < until_at
        ORDER BY contact_id
        FOR UPDATE SKIP LOCKED
    );
    DELETE FROM intervals AS i
    USING contact_states AS s
    WHERE
        s.contact_id = ANY(ids)
        AND i.contact_id = s.contact_id AND i.measure = ANY('{r,t,v}'::"char" [])
        AND i.started_at > s.checkpoint AND i.started_at <= until_at;
    PERFORM store_intervals(ids, until_at, CASE WHEN until_at < settled_until THEN until_at END);
    RETURN cardinality(ids);
END
$$;
-- +goose StatementEnd

-- Resets contacts to before these events, in the transaction that writes them, after writing them: to the beginning of
-- the visit that the event belongs to, or joins. Events after the cutoff are in time and are left out.
-- +goose StatementBegin
CREATE FUNCTION mark_late(contact_ids integer [], moments timestamptz []) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    late_ids integer [];
    late_ats timestamptz [];
    settled_until timestamptz;
    locked integer;
BEGIN
    SELECT array_agg(contact_id), array_agg(at) INTO late_ids, late_ats
    FROM (
        SELECT contact_id, min(at) AS at
        FROM (SELECT unnest(contact_ids) AS contact_id, unnest(moments) AS at) AS e
        WHERE at <= (SELECT cutoff FROM interval_progress)
        GROUP BY contact_id
        ORDER BY contact_id
    ) AS l;

    -- Lock first, to see what a concurrent refresh stored. Also lock contacts that are reset far enough already: a refresh that
    -- has read their events must not move them forward past these. Retention may delete a row while this waits for it.
    LOOP
        INSERT INTO contact_states (contact_id, instance_id, checkpoint, first_event_at)
        SELECT
            c.id,
            c.instance_id,
            p.watermark,
            -- Without a row there is no event up to the watermark, except those that retention is about to delete.
            (
                SELECT min(e.received_at)
                FROM events AS e
                WHERE e.contact_id = c.id AND e.received_at >= least(l.at, p.watermark)
            )
        FROM (SELECT unnest(late_ids) AS contact_id, unnest(late_ats) AS at) AS l
        INNER JOIN contacts AS c ON c.id = l.contact_id
        CROSS JOIN interval_progress AS p
        WHERE NOT EXISTS (SELECT FROM contact_states AS s WHERE s.contact_id = c.id)
        ORDER BY c.id
        ON CONFLICT DO NOTHING;

        PERFORM FROM contact_states AS s
        WHERE s.contact_id = ANY(late_ids)
        ORDER BY s.contact_id
        FOR UPDATE;
        GET DIAGNOSTICS locked = ROW_COUNT;
        EXIT WHEN locked >= (SELECT count(*) FROM contacts AS c WHERE c.id = ANY(late_ids));
    END LOOP;

    -- Events after the watermark are not settled yet, but the next refresh may have read events already.
    settled_until := (SELECT watermark FROM interval_progress);
    UPDATE contact_states AS s
    SET
        checkpoint = CASE WHEN s.checkpoint IS NULL AND l.at > settled_until THEN settled_until ELSE s.checkpoint END,
        first_event_at = least(s.first_event_at, l.at)
    FROM (SELECT unnest(late_ids) AS contact_id, unnest(late_ats) AS at) AS l
    WHERE
        s.contact_id = l.contact_id
        AND (s.checkpoint IS NULL AND l.at > settled_until OR coalesce(s.first_event_at > l.at, true));

    WITH marked AS (
        UPDATE contact_states AS s
        SET
            checkpoint = b.begins_at - interval '1 microsecond',
            last_event_at = p.received_at,
            status = CASE WHEN p.received_at IS NOT NULL THEN 2 END,
            since = CASE WHEN p.received_at IS NOT NULL THEN greatest(
                (
                    SELECT i.ended_at
                    FROM intervals AS i
                    WHERE i.contact_id = s.contact_id AND i.measure = 'v' AND i.started_at < b.begins_at
                    ORDER BY i.started_at DESC
                    LIMIT 1
                ),
                s.first_event_at
            ) END,
            span_events = NULL,
            span_first_event_at = NULL,
            visit_started_at = NULL,
            visit_events = NULL
        FROM (SELECT unnest(late_ids) AS contact_id, unnest(late_ats) AS at) AS l
        INNER JOIN contact_states AS o ON o.contact_id = l.contact_id
        LEFT JOIN LATERAL (
            SELECT i.started_at, i.ended_at
            FROM intervals AS i
            WHERE i.contact_id = l.contact_id AND i.measure = 'v' AND i.started_at <= least(l.at, o.checkpoint)
            ORDER BY i.started_at DESC
            LIMIT 1
        ) AS v ON v.ended_at >= l.at
        CROSS JOIN LATERAL (
            -- Not before the first event: earlier intervals remain from deleted events.
            SELECT greatest(
                CASE WHEN o.visit_started_at <= l.at THEN o.visit_started_at ELSE coalesce(v.started_at, l.at) END,
                o.first_event_at
            ) AS begins_at
        ) AS b
        LEFT JOIN LATERAL (
            SELECT e.received_at
            FROM events AS e
            WHERE e.contact_id = l.contact_id AND e.received_at < b.begins_at
            ORDER BY e.received_at DESC
            LIMIT 1
        ) AS p ON true
        WHERE s.contact_id = l.contact_id AND (s.checkpoint IS NULL OR s.checkpoint >= l.at)
        RETURNING s.contact_id, v.started_at AS visit_started_at, b.begins_at
    )

    -- Intervals of deleted events end where imported events begin again.
    UPDATE intervals AS i
    SET ended_at = m.begins_at, confirmed_until = least(i.confirmed_until, m.begins_at), ended_by = 't'
    FROM marked AS m
    WHERE
        m.visit_started_at < m.begins_at
        AND i.contact_id = m.contact_id AND i.measure = ANY('{r,t,v}'::"char" [])
        AND i.started_at >= m.visit_started_at AND i.started_at < m.begins_at
        AND i.ended_at > m.begins_at;
END
$$;
-- +goose StatementEnd

-- Resets contacts to just before a moment, or with NULL to before their first event. Their state there is unknown.
-- The caller has locked their rows.
-- +goose StatementBegin
CREATE FUNCTION reset_contacts(contact_ids integer [], moment timestamptz) RETURNS void
LANGUAGE sql AS $$
UPDATE contact_states AS s
SET
    checkpoint = coalesce(moment, s.first_event_at) - interval '1 microsecond',
    status = NULL,
    last_event_at = NULL,
    since = NULL,
    span_events = NULL,
    span_first_event_at = NULL,
    visit_started_at = NULL,
    visit_events = NULL
FROM unnest(contact_ids) AS k (contact_id)
WHERE s.contact_id = k.contact_id
$$;
-- +goose StatementEnd

-- Prepares an instance for the deletion of its events before a horizon, a full hour: intervals that started earlier stay, and
-- end at the horizon at the latest; later ones follow from the remaining events. Returns false, and does nothing, if a refresh
-- must first store intervals that ended before the horizon.
-- +goose StatementBegin
CREATE FUNCTION cut_intervals(instance integer, horizon timestamptz, now timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    stored_until timestamptz;
    ids integer [];
BEGIN
    SELECT watermark INTO stored_until FROM interval_progress FOR UPDATE;
    -- All that may change, in the order of their ids.
    PERFORM FROM contact_states AS s
    WHERE s.instance_id = instance AND s.first_event_at < horizon
    ORDER BY s.contact_id
    FOR UPDATE;
    IF
        EXISTS (SELECT FROM contact_states AS s WHERE s.instance_id = instance AND s.checkpoint < horizon)
        OR stored_until < horizon AND (
            EXISTS (SELECT FROM contact_states AS s WHERE s.instance_id = instance AND s.visit_started_at < horizon)
            OR EXISTS (SELECT FROM active_contacts(stored_until, horizon))
        )
    THEN
        RETURN false;
    END IF;
    ids := ARRAY(
        SELECT s.contact_id
        FROM contact_states AS s
        WHERE
            s.instance_id = instance
            AND (
                s.visit_started_at < horizon
                OR s.since <= horizon
                OR s.contact_id IN (
                    SELECT i.contact_id
                    FROM intervals AS i
                    WHERE
                        i.instance_id = instance
                        AND crosses_hour(i.started_at, i.ended_at)
                        AND tstzrange(i.started_at, i.ended_at, '()') @> horizon
                )
            )
        ORDER BY s.contact_id
        FOR UPDATE
    );
    INSERT INTO intervals
    SELECT f.* FROM fresh_intervals(ids, now) AS f WHERE f.started_at < horizon AND f.ended_at > horizon
    ON CONFLICT DO NOTHING;
    UPDATE intervals AS i
    SET
        ended_at = horizon,
        confirmed_until = least(i.confirmed_until, horizon),
        ended_by = 't',
        events = (
            SELECT count(DISTINCT e.received_at)
            FROM events AS e
            WHERE e.contact_id = i.contact_id AND e.received_at >= i.started_at AND e.received_at < horizon
        )
    WHERE
        i.instance_id = instance
        AND crosses_hour(i.started_at, i.ended_at)
        AND tstzrange(i.started_at, i.ended_at, '()') @> horizon;
    PERFORM reset_contacts(ids, horizon);
    DELETE FROM contact_states AS s
    WHERE
        s.instance_id = instance AND s.first_event_at < horizon
        AND NOT EXISTS (SELECT FROM events AS e WHERE e.contact_id = s.contact_id AND e.received_at >= horizon);
    UPDATE contact_states AS s
    SET first_event_at = (
        SELECT min(e.received_at) FROM events AS e WHERE e.contact_id = s.contact_id AND e.received_at >= horizon
    )
    WHERE s.instance_id = instance AND s.first_event_at < horizon;
    RETURN true;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION cut_intervals, reset_contacts, mark_late, refresh_late_intervals, refresh_intervals, store_intervals;
