-- +goose Up

-- Rollups: the stretches that have ended, summed up by quarters of an hour, so that questions about all contacts of an
-- instance need not read its events. They follow from the events and can be made anew at any time. Calendars of all time
-- zones cut at quarters of an hour.

ALTER TABLE settings ADD COLUMN time_zone text NOT NULL DEFAULT 'UTC';
ALTER TABLE settings ADD COLUMN retention interval;
ALTER TABLE settings ADD COLUMN rollup_retention interval;
ALTER TABLE instances ADD COLUMN time_zone text;
ALTER TABLE instances ADD COLUMN retention interval;
ALTER TABLE instances ADD COLUMN rollup_retention interval;
ALTER TABLE instances ADD COLUMN events_from timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN settings.time_zone IS 'IANA name of the zone whose days analytics.daily has';
COMMENT ON COLUMN settings.retention IS 'How long events are kept; NULL: for ever';
COMMENT ON COLUMN settings.rollup_retention IS 'How long rollups are kept; NULL: for ever';
COMMENT ON COLUMN instances.events_from IS 'Where the events that retention has left begin; rollups of what is older cannot be made anew';

-- A stretch is rolled up where it ends, once no event can change it any more: a row sums up the parts that lie in `slot`
-- of those stretches that ended within ended_slot, itself not in it, and the 15 minutes after it, their end in it. So a
-- row is final, and what still runs is in none. One stretch is one part in each slot it touches.
CREATE TABLE rollups (
    slot timestamptz NOT NULL,
    ended_slot timestamptz NOT NULL,
    micros bigint NOT NULL,
    confirmed_micros bigint NOT NULL,
    instance_id integer NOT NULL REFERENCES instances,
    starts integer NOT NULL,
    measure text NOT NULL,
    parts bytea NOT NULL,
    PRIMARY KEY (instance_id, slot, ended_slot, measure)
);
COMMENT ON COLUMN rollups.measure IS 'typing, recording or inChat';
COMMENT ON COLUMN rollups.micros IS 'how many microseconds of the stretches lie in the slot';
COMMENT ON COLUMN rollups.confirmed_micros IS 'how many of them events vouch for';
COMMENT ON COLUMN rollups.starts IS 'how many of the stretches start in the slot';
COMMENT ON COLUMN rollups.parts IS 'the parts one by one, for medians and for who it was; see part_of';
-- Read whole or not at all, and full of small numbers that do not compress well in little time.
ALTER TABLE rollups ALTER COLUMN parts SET STORAGE EXTERNAL;

-- A part in 20 bytes, each number big-endian: whose it is (4 bytes), how many microseconds of the stretch lie in the slot
-- (4), how many of them events vouch for (4), and the whole stretch's length in microseconds if it starts in the slot, else
-- 0 (8). Millions of them are read for an answer, and PostgreSQL sends bytes many times faster than arrays of numbers.
-- +goose StatementBegin
CREATE FUNCTION part_of(contact_id integer, inside bigint, confirmed_inside bigint, length bigint) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN int4send(contact_id) || int4send(inside::integer) || int4send(confirmed_inside::integer) || int8send(length);
-- +goose StatementEnd

-- By way of a string of bits, which can be cast to numbers.
-- +goose StatementBegin
CREATE FUNCTION parts_of(parts bytea)
RETURNS TABLE (contact_id integer, inside integer, confirmed_inside integer, length bigint)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT
    substring(p.bits, at, 32)::integer,
    substring(p.bits, at + 32, 32)::integer,
    substring(p.bits, at + 64, 32)::integer,
    substring(p.bits, at + 96, 64)::bigint
FROM (SELECT ('x' || encode(parts, 'hex'))::varbit AS bits OFFSET 0) AS p
CROSS JOIN LATERAL generate_series(1, length(p.bits), 160) AS at
$$;
-- +goose StatementEnd

CREATE TABLE rollup_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    rolled_until timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON COLUMN rollup_state.rolled_until IS
'stretches that ended up to here are rolled up, but for rollup_stale; who writes an event up to here has to call mark_stale';
INSERT INTO rollup_state DEFAULT VALUES;

CREATE TABLE rollup_stale (
    instance_id integer NOT NULL REFERENCES instances,
    from_slot timestamptz NOT NULL,
    until_slot timestamptz NOT NULL,
    CHECK (from_slot < until_slot)
);
CREATE INDEX rollup_stale_instance ON rollup_stale (instance_id);
COMMENT ON TABLE rollup_stale IS 'Ended slots [from_slot, until_slot) whose rollups are to be made anew and not to be read';

CREATE VIEW current_rollups AS
SELECT r.*
FROM rollups AS r
WHERE
    NOT EXISTS (
        SELECT FROM rollup_stale AS s
        WHERE s.instance_id = r.instance_id AND s.from_slot <= r.ended_slot AND s.until_slot > r.ended_slot
    );
COMMENT ON VIEW current_rollups IS 'The rollups that can be read';

-- The quarter of an hour that a moment lies in.
-- +goose StatementBegin
CREATE FUNCTION slot_of(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('15 min', moment, '2000-01-01Z');
-- +goose StatementEnd

-- How long before a moment the last event lies at most of a contact who is in the chat at that moment.
CREATE VIEW reaches AS
SELECT instance_id, greatest(typing, recording) + presence AS reach
FROM timeouts;

-- Marks what events of these contacts at these moments make stale, in the transaction that writes them, after writing
-- them. A stretch may have changed if it was there when an event came or began or could have begun until the contact
-- would have run out; with it changes the slot in which it ended.
-- +goose StatementBegin
CREATE FUNCTION mark_stale(contact_ids integer [], moments timestamptz []) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT rolled_until FROM rollup_state) < (SELECT min(m) FROM unnest(moments) AS m) THEN
        RETURN;
    END IF;
    -- Whoever rolls up holds this row meanwhile, lest it misses the events and takes away the mark.
    PERFORM FROM rollup_state FOR SHARE;
    INSERT INTO rollup_stale (instance_id, from_slot, until_slot)
    SELECT late.instance_id, late.from_slot, least(late.until_slot, slot_of(s.rolled_until))
    FROM (
        SELECT
            k.instance_id,
            -- An event at the very end of a stretch may keep it from ending there. What retention has left no events of stays.
            greatest(slot_of(k.first_at - interval '1 microsecond'), slot_of(i.events_from)) AS from_slot,
            greatest(slot_of(k.last_at + r.reach), l.ended_slot) + interval '15 min' AS until_slot
        FROM (
            SELECT c.instance_id, min(e.received_at) AS first_at, max(e.received_at) AS last_at
            FROM (SELECT unnest(contact_ids) AS contact_id, unnest(moments) AS received_at) AS e
            INNER JOIN contacts AS c ON c.id = e.contact_id
            GROUP BY c.instance_id
        ) AS k
        INNER JOIN instances AS i ON i.id = k.instance_id
        INNER JOIN reaches AS r ON r.instance_id = k.instance_id
        CROSS JOIN LATERAL (
            SELECT max(o.ended_slot) AS ended_slot
            FROM rollups AS o
            WHERE o.instance_id = k.instance_id AND o.slot = slot_of(k.last_at + r.reach)
        ) AS l
    ) AS late
    CROSS JOIN rollup_state AS s
    WHERE late.from_slot < least(late.until_slot, slot_of(s.rolled_until));
END
$$;
-- +goose StatementEnd

-- Marks all of an instance's rollups, or with NULL those of all instances, as when a timeout changes.
-- +goose StatementBegin
CREATE FUNCTION mark_all_stale(instance integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM rollup_state FOR SHARE;
    DELETE FROM rollup_stale WHERE instance_id = coalesce(instance, instance_id); -- it is all in what comes now
    INSERT INTO rollup_stale (instance_id, from_slot, until_slot)
    SELECT i.id, f.from_slot, s.rolled_until
    FROM rollup_state AS s
    CROSS JOIN instances AS i
    CROSS JOIN LATERAL (SELECT greatest(first_slot(), slot_of(i.events_from)) AS from_slot) AS f
    WHERE i.id = coalesce(instance, i.id) AND f.from_slot < s.rolled_until;
END
$$;
-- +goose StatementEnd

-- Where the partitions of events begin.
-- +goose StatementBegin
CREATE FUNCTION first_slot() RETURNS timestamptz
LANGUAGE sql STABLE
RETURN (
    SELECT min(to_date(right(relid::regclass::text, 7), 'YYYY_MM'))::timestamp AT TIME ZONE 'UTC'
    FROM pg_partition_tree('events')
    WHERE isleaf
);
-- +goose StatementEnd

-- Moves the end of what is rolled up to the slot of a moment. What is new is stale until it is rolled up.
-- +goose StatementBegin
CREATE FUNCTION advance_rollups(moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT rolled_until FROM rollup_state) >= slot_of(moment) THEN
        RETURN;
    END IF;
    PERFORM FROM rollup_state FOR UPDATE;
    INSERT INTO rollup_stale (instance_id, from_slot, until_slot)
    SELECT i.id, f.from_slot, slot_of(moment)
    FROM rollup_state AS s
    CROSS JOIN instances AS i
    CROSS JOIN LATERAL (SELECT greatest(first_slot(), s.rolled_until) AS from_slot) AS f
    WHERE f.from_slot < slot_of(moment);
    UPDATE rollup_state SET rolled_until = slot_of(moment) WHERE rolled_until < slot_of(moment);
END
$$;
-- +goose StatementEnd

-- An instance's ended slots from range_start on whose rollups cannot be read, as few ranges as possible; the last one has
-- no end.
-- +goose StatementBegin
CREATE FUNCTION not_rolled_up(instance integer, range_start timestamptz)
RETURNS TABLE (from_slot timestamptz, until_slot timestamptz)
LANGUAGE sql STABLE AS $$
WITH hole AS (
    SELECT greatest(from_slot, range_start) AS from_slot, until_slot
    FROM rollup_stale
    WHERE instance_id = instance AND until_slot > range_start
    UNION ALL
    SELECT greatest(rolled_until, range_start), 'infinity'
    FROM rollup_state
),

numbered AS (
    SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY from_slot, until_slot) AS island
    FROM (
        SELECT
            *,
            from_slot > coalesce(
                max(until_slot) OVER (ORDER BY from_slot, until_slot ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING),
                '-infinity'
            ) AS begins
        FROM hole
    ) AS h
)

SELECT min(from_slot), max(until_slot)
FROM numbered
GROUP BY island
$$;
-- +goose StatementEnd

-- Who was heard of in [range_start, range_end). The planner, which does not know how short that is, would rather read the
-- whole key, or all of the table, than the few pages that the BRIN index names.
-- +goose StatementBegin
CREATE FUNCTION heard_between(range_start timestamptz, range_end timestamptz) RETURNS TABLE (contact_id integer)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_seqscan = off AS $$
SELECT DISTINCT e.contact_id
FROM events AS e
WHERE e.received_at >= range_start AND e.received_at < range_end
$$;
-- +goose StatementEnd

-- The stretches of all contacts of an instance that overlap [range_start, range_end), whole; see stretches(). Only
-- contacts with an event since shortly before the range can have one there.
-- +goose StatementBegin
CREATE FUNCTION instance_stretches(
    instance integer, range_start timestamptz, range_end timestamptz, now timestamptz
)
RETURNS TABLE (
    contact_id integer,
    measure text,
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    confirmed_until timestamptz
)
LANGUAGE sql STABLE AS $$
SELECT heard.contact_id, s.measure, s.started_at, s.ended_at, s.until, s.confirmed_until
FROM heard_between(
    range_start - (SELECT r.reach FROM reaches AS r WHERE r.instance_id = instance), range_end
) AS heard
INNER JOIN contacts AS c ON c.id = heard.contact_id AND c.instance_id = instance
CROSS JOIN LATERAL stretches(heard.contact_id, range_start, range_end, now) AS s
$$;
-- +goose StatementEnd

-- Those that end after ended_after, up to ended_until; with 'infinity' also those that run.
-- +goose StatementBegin
CREATE FUNCTION stretches_ended(
    instance integer, ended_after timestamptz, ended_until timestamptz, now timestamptz
)
RETURNS TABLE (
    contact_id integer,
    measure text,
    started_at timestamptz,
    ended_at timestamptz,
    until timestamptz,
    confirmed_until timestamptz
)
LANGUAGE sql STABLE AS $$
SELECT *
FROM instance_stretches(instance, ended_after, ended_until + interval '1 microsecond', now) AS s
WHERE coalesce(s.ended_at, 'infinity') > ended_after AND coalesce(s.ended_at, 'infinity') <= ended_until
$$;
-- +goose StatementEnd

-- Makes an instance's rollups of the ended slots [from_slot, until_slot) anew. The caller holds the row of rollup_state.
-- +goose StatementBegin
CREATE FUNCTION roll_up(instance integer, p_from timestamptz, p_until timestamptz, now timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM rollups
    WHERE instance_id = instance AND slot < p_until AND ended_slot >= p_from AND ended_slot < p_until;

    INSERT INTO rollups (
        instance_id, slot, ended_slot, measure, micros, confirmed_micros, starts, parts
    )
    SELECT
        instance,
        slot,
        ended_slot,
        measure,
        sum(inside),
        sum(confirmed_inside),
        count(*) FILTER (WHERE slot = first_slot),
        string_agg(part_of(contact_id, inside, confirmed_inside, CASE WHEN slot = first_slot THEN length ELSE 0 END), '')
    FROM (
        SELECT
            *,
            micros_of(least(until, slot + interval '15 min') - greatest(started_at, slot)) AS inside,
            greatest(micros_of(least(confirmed_until, slot + interval '15 min') - greatest(started_at, slot)), 0) AS confirmed_inside
        FROM (
            SELECT
                *,
                micros_of(until - started_at) AS length,
                slot_of(started_at) AS first_slot,
                slot_of(until - interval '1 microsecond') AS ended_slot
            FROM stretches_ended(instance, p_from, p_until, now)
        ) AS s
        CROSS JOIN LATERAL generate_series(s.first_slot, s.ended_slot, '15 min') AS slot
    ) AS part
    GROUP BY slot, ended_slot, measure;

    WITH cut AS (
        DELETE FROM rollup_stale
        WHERE instance_id = instance AND from_slot < p_until AND until_slot > p_from
        RETURNING *
    )

    INSERT INTO rollup_stale (instance_id, from_slot, until_slot)
    SELECT instance, from_slot, p_from
    FROM cut
    WHERE from_slot < p_from
    UNION
    SELECT instance, p_until, until_slot
    FROM cut
    WHERE until_slot > p_until;
END
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION micros_of(length interval) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (extract(EPOCH FROM length) * 1000000)::bigint;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION roll_up, advance_rollups, stretches_ended, instance_stretches, heard_between, not_rolled_up, mark_all_stale, mark_stale, first_slot, micros_of, slot_of, part_of, parts_of;
DROP VIEW reaches, current_rollups;
DROP TABLE rollup_stale, rollup_state, rollups;
ALTER TABLE instances DROP COLUMN time_zone, DROP COLUMN retention, DROP COLUMN rollup_retention, DROP COLUMN events_from;
ALTER TABLE settings DROP COLUMN time_zone, DROP COLUMN retention, DROP COLUMN rollup_retention;
