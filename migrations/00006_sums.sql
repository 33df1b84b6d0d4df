-- +goose Up

-- Which intervals lie in a range of time, and sums of them. Sums over all contacts of an instance start from interval_sums,
-- which triggers keep equal to the sums of all rows of intervals; a query subtracts the invalidated ones and adds
-- fresh_intervals(). All other queries read the rows.

-- The quarter of an hour, UTC, that a moment lies in.
-- +goose StatementBegin
CREATE FUNCTION quarter_of(moment timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN date_bin('15 min', moment, '2000-01-01Z');
-- +goose StatementEnd

-- The part of an interval in each quarter of an hour. Most lie in one, and for those nothing is generated. Views for
-- analysts use it, so its body is bound to functions now and not by the caller's search_path.
-- +goose StatementBegin
CREATE FUNCTION quarter_pieces(started_at timestamptz, until timestamptz, confirmed_until timestamptz)
RETURNS TABLE (quarter timestamptz, starts integer, micros bigint, confirmed_micros bigint)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
SELECT quarter_of(started_at), 1, micros_between(started_at, until), micros_between(started_at, confirmed_until)
WHERE until <= quarter_of(started_at) + interval '15 min'
UNION ALL
SELECT
    q,
    (q <= started_at)::integer,
    micros_between(greatest(started_at, q), least(until, q + interval '15 min')),
    micros_between(greatest(started_at, q), least(confirmed_until, q + interval '15 min'))
FROM generate_series(quarter_of(started_at), until - interval '1 microsecond', interval '15 min') AS q
WHERE until > quarter_of(started_at) + interval '15 min';
END;
-- +goose StatementEnd

-- All rows of intervals, summed up by instance, quarter of an hour and measure.
CREATE TABLE interval_sums (
    hour timestamptz NOT NULL,
    quarter timestamptz NOT NULL,
    micros bigint NOT NULL,
    confirmed_micros bigint NOT NULL,
    instance_id integer NOT NULL,
    starts integer NOT NULL,
    measure "char" NOT NULL,
    PRIMARY KEY (instance_id, hour, quarter, measure)
) WITH (fillfactor = 70);
COMMENT ON TABLE interval_sums IS 'All rows of intervals, summed up by instance, quarter of an hour and measure';
COMMENT ON COLUMN interval_sums.hour IS 'When the hour of the quarter began, for filters';
COMMENT ON COLUMN interval_sums.quarter IS 'When the quarter of an hour began, UTC';
COMMENT ON COLUMN interval_sums.micros IS 'Microseconds of intervals that lie in it';
COMMENT ON COLUMN interval_sums.confirmed_micros IS 'The same of their confirmed parts';
COMMENT ON COLUMN interval_sums.starts IS 'How many intervals start in it';

-- Adds the changed rows, or subtracts them, as the trigger's argument 1 or -1 says.
-- +goose StatementBegin
CREATE FUNCTION sum_changed_intervals() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    sign integer := TG_ARGV[0];
BEGIN
    INSERT INTO interval_sums AS s (instance_id, hour, quarter, measure, starts, micros, confirmed_micros)
    SELECT
        c.instance_id,
        hour_of(p.quarter),
        p.quarter,
        c.measure,
        sign * sum(p.starts),
        sign * sum(p.micros),
        sign * sum(p.confirmed_micros)
    FROM changed AS c
    CROSS JOIN LATERAL quarter_pieces(c.started_at, c.ended_at, c.confirmed_until) AS p
    GROUP BY c.instance_id, p.quarter, c.measure
    ORDER BY c.instance_id, p.quarter, c.measure
    ON CONFLICT (instance_id, hour, quarter, measure) DO UPDATE SET
        starts = s.starts + excluded.starts,
        micros = s.micros + excluded.micros,
        confirmed_micros = s.confirmed_micros + excluded.confirmed_micros;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER add_inserted AFTER INSERT ON intervals
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sum_changed_intervals('1');
CREATE TRIGGER subtract_deleted AFTER DELETE ON intervals
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sum_changed_intervals('-1');
CREATE TRIGGER subtract_updated AFTER UPDATE ON intervals
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sum_changed_intervals('-1');
CREATE TRIGGER add_updated AFTER UPDATE ON intervals
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION sum_changed_intervals('1');

-- +goose StatementBegin
CREATE FUNCTION fresh_contact_ids(instance integer) RETURNS integer []
LANGUAGE sql STABLE PARALLEL SAFE
RETURN ARRAY(
    SELECT c.id
    FROM fresh_contacts AS f
    INNER JOIN contacts AS c ON c.id = f.contact_id
    WHERE c.instance_id = instance
);
-- +goose StatementEnd

-- The stored intervals of all contacts of an instance that overlap [range_start, range_end), whole, including invalidated ones:
-- those that start in or after the hour of range_start, and those that contain the beginning of that hour.
-- +goose StatementBegin
CREATE FUNCTION intervals_within(instance integer, range_start timestamptz, range_end timestamptz)
RETURNS SETOF intervals
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT i.*
FROM intervals AS i
WHERE
    i.instance_id = instance
    AND i.started_at >= hour_of(range_start) AND i.started_at < range_end
    AND (i.ended_at > range_start OR i.started_at >= range_start)
UNION ALL
SELECT i.*
FROM intervals AS i
WHERE
    i.instance_id = instance
    AND crosses_hour(i.started_at, i.ended_at)
    AND tstzrange(i.started_at, i.ended_at, '()') @> hour_of(range_start)
    AND i.ended_at > range_start
$$;
-- +goose StatementEnd

-- Those of them that are not invalidated, as in stored_intervals.
-- +goose StatementBegin
CREATE FUNCTION stored_within(instance integer, range_start timestamptz, range_end timestamptz)
RETURNS SETOF intervals
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT i.*
FROM intervals_within(instance, range_start, range_end) AS i
WHERE
    NOT EXISTS (
        SELECT FROM contact_states AS s
        WHERE s.contact_id = i.contact_id AND s.checkpoint IS NOT NULL AND s.checkpoint < i.started_at
    )
$$;
-- +goose StatementEnd

-- The intervals of contacts that overlap [range_start, range_end), whole. Of one measure, what contains range_start is the last
-- that started before it.
-- +goose StatementBegin
CREATE FUNCTION contact_intervals(contact_ids integer [], range_start timestamptz, range_end timestamptz, now timestamptz)
RETURNS SETOF intervals
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT i.*
FROM unnest(contact_ids) AS k (contact_id)
LEFT JOIN contact_states AS s ON s.contact_id = k.contact_id
CROSS JOIN unnest('{r,t,v}'::"char" []) AS m (measure)
CROSS JOIN LATERAL (
    SELECT o.*
    FROM intervals AS o
    WHERE
        o.contact_id = k.contact_id AND o.measure = m.measure
        AND o.started_at >= range_start AND o.started_at < range_end
        AND o.started_at <= coalesce(s.checkpoint, 'infinity')
    UNION ALL
    SELECT *
    FROM (
        SELECT o.*
        FROM intervals AS o
        WHERE
            o.contact_id = k.contact_id AND o.measure = m.measure
            AND o.started_at < range_start AND o.started_at <= coalesce(s.checkpoint, 'infinity')
        ORDER BY o.started_at DESC
        LIMIT 1
    ) AS o
    WHERE o.ended_at > range_start
) AS i
UNION ALL
SELECT f.*
FROM fresh_intervals(contact_ids, now) AS f
WHERE f.started_at < range_end AND (f.ended_at > range_start OR f.ended_by = 'o' OR f.started_at >= range_start)
$$;
-- +goose StatementEnd

-- The part of an interval in each bucket. Bucket k is [bounds[k], bounds[k + 1]); what is before or after all is left out.
-- +goose StatementBegin
CREATE FUNCTION bucket_pieces(
    started_at timestamptz, until timestamptz, confirmed_until timestamptz, bounds timestamptz []
)
RETURNS TABLE (bucket integer, starts integer, micros bigint, confirmed_micros bigint)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT
    b.bucket,
    (started_at >= bounds[b.bucket])::integer,
    micros_between(greatest(started_at, bounds[b.bucket]), least(until, bounds[b.bucket + 1])),
    micros_between(greatest(started_at, bounds[b.bucket]), least(confirmed_until, bounds[b.bucket + 1]))
FROM (
    SELECT width_bucket(started_at, bounds) AS first OFFSET 0 -- computes it once
) AS f
CROSS JOIN LATERAL (
    SELECT f.first AS bucket
    WHERE f.first > 0 AND until <= bounds[f.first + 1]
    UNION ALL
    SELECT generate_series(greatest(f.first, 1), least(width_bucket(until, bounds), cardinality(bounds) - 1))
    WHERE f.first = 0 OR until > bounds[f.first + 1]
) AS b
$$;
-- +goose StatementEnd

-- The parts of an instance's stored intervals in the buckets that lie in quarters of an hour which a bound cuts. For bounds at
-- full quarters that is nothing. The planner does not know how short these ranges are.
-- +goose StatementBegin
CREATE FUNCTION edge_pieces(instance integer, bounds timestamptz [])
RETURNS TABLE (measure "char", bucket integer, starts integer, micros bigint, confirmed_micros bigint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 100 SET enable_indexscan = off SET enable_seqscan = off AS $$
SELECT
    i.measure,
    e.bucket,
    (i.started_at >= e.starts_at)::integer,
    micros_between(greatest(i.started_at, e.starts_at), least(i.ended_at, e.ends_at)),
    micros_between(greatest(i.started_at, e.starts_at), least(i.confirmed_until, e.ends_at))
FROM (
    SELECT e.*
    FROM generate_series(1, cardinality(bounds) - 1) AS b (bucket)
    CROSS JOIN LATERAL (
        SELECT
            bounds[b.bucket] AS starts_at,
            bounds[b.bucket + 1] AS ends_at,
            quarter_of(bounds[b.bucket] + interval '15 min' - interval '1 microsecond') AS first_quarter,
            quarter_of(bounds[b.bucket + 1]) AS last_quarter
    ) AS q
    CROSS JOIN LATERAL (
        VALUES
        (b.bucket, q.starts_at, least(q.first_quarter, q.ends_at)),
        (b.bucket, greatest(q.first_quarter, q.last_quarter), q.ends_at)
    ) AS e (bucket, starts_at, ends_at)
    WHERE e.starts_at < e.ends_at
) AS e
CROSS JOIN LATERAL intervals_within(instance, e.starts_at, e.ends_at) AS i
$$;
-- +goose StatementEnd

-- The lengths of an instance's stored intervals that start in a part of the buckets: microseconds, 8 bytes each, big-endian;
-- PostgreSQL sends bytes much faster than an array.
-- +goose StatementBegin
CREATE FUNCTION stored_lengths(
    instance integer, bounds timestamptz [], part_start timestamptz, part_end timestamptz
)
RETURNS TABLE (measure "char", bucket integer, lengths bytea)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT i.measure, width_bucket(i.started_at, bounds), string_agg(int8send(micros_between(i.started_at, i.ended_at)), '')
FROM stored_within(instance, part_start, part_end) AS i
WHERE i.started_at >= part_start
GROUP BY 1, 2
$$;
-- +goose StatementEnd

-- The parts of the intervals of all contacts of an instance in each bucket, and how many start there.
--   lengths   of those that start in the bucket, as of stored_lengths; in rows of their own, and only with with_lengths
-- +goose StatementBegin
CREATE FUNCTION sum_instance(instance integer, bounds timestamptz [], now timestamptz, with_lengths boolean)
RETURNS TABLE (
    measure "char", bucket integer, starts bigint, micros bigint, confirmed_micros bigint, lengths bytea
)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000 AS $$
SELECT
    p.measure,
    p.bucket,
    sum(p.starts)::bigint,
    sum(p.micros)::bigint,
    sum(p.confirmed_micros)::bigint,
    NULL::bytea
FROM (
    SELECT s.measure, width_bucket(s.quarter, bounds) AS bucket, s.starts, s.micros, s.confirmed_micros
    FROM interval_sums AS s
    WHERE
        s.instance_id = instance
        AND s.hour >= hour_of(bounds[1]) AND s.hour < bounds[cardinality(bounds)]
        AND s.quarter >= bounds[1] AND s.quarter < bounds[cardinality(bounds)]
        AND width_bucket(s.quarter, bounds) = width_bucket(s.quarter + interval '15 min' - interval '1 microsecond', bounds)
    UNION ALL
    SELECT e.* FROM edge_pieces(instance, bounds) AS e
    UNION ALL
    SELECT i.measure, p.bucket, -p.starts, -p.micros, -p.confirmed_micros
    FROM contact_states AS s
    INNER JOIN intervals AS i ON i.contact_id = s.contact_id AND i.measure = ANY('{r,t,v}'::"char" []) AND i.started_at > s.checkpoint
    CROSS JOIN LATERAL bucket_pieces(i.started_at, i.ended_at, i.confirmed_until, bounds) AS p
    WHERE
        s.instance_id = instance AND s.checkpoint IS NOT NULL
        AND i.started_at < bounds[cardinality(bounds)] AND (i.ended_at > bounds[1] OR i.started_at >= bounds[1])
    UNION ALL
    SELECT f.measure, p.bucket, p.starts, p.micros, p.confirmed_micros
    FROM fresh_intervals(fresh_contact_ids(instance), now) AS f
    CROSS JOIN LATERAL bucket_pieces(f.started_at, f.ended_at, f.confirmed_until, bounds) AS p
) AS p
GROUP BY p.measure, p.bucket
UNION ALL
-- In two halves, so that PostgreSQL reads them in parallel. OFFSET 0 keeps these apart from what it cannot compute so.
SELECT l.measure, l.bucket, 0, 0, 0, l.lengths
FROM (
    SELECT f.*
    FROM stored_lengths(instance, bounds, bounds[1], bounds[1] + (bounds[cardinality(bounds)] - bounds[1]) / 2) AS f
    UNION ALL
    SELECT s.*
    FROM stored_lengths(
        instance, bounds, bounds[1] + (bounds[cardinality(bounds)] - bounds[1]) / 2, bounds[cardinality(bounds)]
    ) AS s
    OFFSET 0
) AS l
WHERE with_lengths
UNION ALL
SELECT
    f.measure,
    width_bucket(f.started_at, bounds),
    0,
    0,
    0,
    string_agg(int8send(micros_between(f.started_at, f.ended_at)), '')
FROM fresh_intervals(fresh_contact_ids(instance), now) AS f
WHERE with_lengths AND f.started_at >= bounds[1] AND f.started_at < bounds[cardinality(bounds)]
GROUP BY 1, 2
$$;
-- +goose StatementEnd

-- +goose Down
-- Migrating up again would not fill these tables from the events.
-- +goose StatementBegin
DO $$
BEGIN
    IF EXISTS (SELECT FROM events) OR EXISTS (SELECT FROM intervals) THEN
        RAISE EXCEPTION 'this version cannot be rolled back while there are events'
        USING HINT = 'Export the events, and import them into an empty database of the other version.';
    END IF;
END
$$;
-- +goose StatementEnd
DROP FUNCTION sum_instance, stored_lengths, edge_pieces, bucket_pieces, contact_intervals, stored_within, intervals_within;
DROP FUNCTION fresh_contact_ids;
DROP TRIGGER add_updated ON intervals;
DROP TRIGGER subtract_updated ON intervals;
DROP TRIGGER subtract_deleted ON intervals;
DROP TRIGGER add_inserted ON intervals;
DROP TABLE interval_sums;
DROP FUNCTION sum_changed_intervals, quarter_pieces, quarter_of;
