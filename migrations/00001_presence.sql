-- +goose Up

-- The settings of the whole service: one row. An instance may override each (instances).
CREATE TABLE settings (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    typing_timeout interval NOT NULL DEFAULT '25 s',
    recording_timeout interval NOT NULL DEFAULT '25 s',
    presence_timeout interval NOT NULL DEFAULT '5 min',
    time_zone text NOT NULL DEFAULT 'UTC',
    retention interval,
    interval_retention interval,
    CHECK (least(typing_timeout, recording_timeout, presence_timeout) >= '1 s'),
    CHECK (greatest(typing_timeout, recording_timeout, presence_timeout) <= '24 h')
);
COMMENT ON COLUMN settings.typing_timeout IS 'COMPOSING that no event renews becomes PAUSED after this long';
COMMENT ON COLUMN settings.recording_timeout IS 'RECORDING that no event renews becomes PAUSED after this long';
COMMENT ON COLUMN settings.presence_timeout IS 'AVAILABLE or PAUSED that no event renews becomes UNAVAILABLE after this long';
COMMENT ON COLUMN settings.time_zone IS 'IANA name of the time zone of days in analytics.daily';
COMMENT ON COLUMN settings.retention IS 'How long events are kept; NULL: forever';
COMMENT ON COLUMN settings.interval_retention IS 'How long intervals are kept; NULL: forever';
INSERT INTO settings DEFAULT VALUES;

-- Rows to lock: unlike an advisory lock, only roles that can write here can hold them.
CREATE TABLE locks (name text PRIMARY KEY);
INSERT INTO locks (name) VALUES ('maintenance'), ('partitions');

CREATE TABLE instances (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    typing_timeout interval,
    recording_timeout interval,
    presence_timeout interval,
    time_zone text,
    retention interval,
    interval_retention interval,
    CHECK (least(typing_timeout, recording_timeout, presence_timeout) >= '1 s'),
    CHECK (greatest(typing_timeout, recording_timeout, presence_timeout) <= '24 h')
);
CREATE INDEX instances_own_timeouts ON instances (id)
WHERE typing_timeout IS NOT NULL OR recording_timeout IS NOT NULL OR presence_timeout IS NOT NULL;
COMMENT ON TABLE instances IS 'The connected numbers; NULL means the value in settings';
COMMENT ON COLUMN instances.name IS 'instanceId as the gateway sends it';

CREATE TABLE analysts (
    role_name name NOT NULL,
    instance text COLLATE "C",
    UNIQUE NULLS NOT DISTINCT (role_name, instance)
);
COMMENT ON TABLE analysts IS 'The read-only roles of schema analytics, and the instances that they may see';
COMMENT ON COLUMN analysts.instance IS 'The name of one; NULL: all. It stays if that is erased, so that the role is known';

CREATE TABLE contacts (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id integer NOT NULL REFERENCES instances,
    phone text COLLATE "C" NOT NULL,
    UNIQUE (instance_id, phone)
);
COMMENT ON COLUMN contacts.phone IS 'phone as the gateway sends it, within one instance';

-- The order of the columns makes a row as small as possible: 44 bytes with its line pointer if last_seen and extra are NULL.
-- There is no foreign key to contacts, since its check would cost each insert a lookup. The key includes status, so that spans
-- need an index-only scan.
CREATE TABLE events (
    received_at timestamptz NOT NULL,
    last_seen bigint,
    contact_id integer NOT NULL,
    seq smallint NOT NULL,
    status smallint NOT NULL,
    extra json,
    PRIMARY KEY (contact_id, received_at, seq) INCLUDE (status)
) PARTITION BY RANGE (received_at);
COMMENT ON TABLE events IS 'Every presence event, as received; partitioned by calendar month, UTC';
COMMENT ON COLUMN events.received_at IS 'the receiver''s clock';
COMMENT ON COLUMN events.seq IS 'orders the events of a contact that have the same received_at: a later arrival has the larger one';
COMMENT ON COLUMN events.status IS '1 AVAILABLE, 2 UNAVAILABLE, 3 COMPOSING, 4 PAUSED, 5 RECORDING';
COMMENT ON COLUMN events.last_seen IS 'lastSeen as sent; its unit differs between gateways';
COMMENT ON COLUMN events.extra IS 'the fields that presencelog does not know, as sent; NULL if there were none';

-- Rows are on disk nearly in time order, so this index of a few pages finds the events of the last minutes, of all contacts.
CREATE INDEX events_received_at ON events USING brin (received_at)
WITH (pages_per_range = 32, autosummarize = on);

-- The state of a contact at its checkpoint, so that queries need not read earlier events (00004_intervals.sql). A contact
-- without a row has no event up to the watermark.
CREATE TABLE contact_states (
    contact_id integer PRIMARY KEY,
    instance_id integer NOT NULL,
    checkpoint timestamptz,
    first_event_at timestamptz,
    last_event_at timestamptz,
    since timestamptz,
    span_first_event_at timestamptz,
    visit_started_at timestamptz,
    span_events integer,
    visit_events integer,
    status smallint
) WITH (fillfactor = 70);
CREATE INDEX contact_states_late ON contact_states (checkpoint) WHERE checkpoint IS NOT NULL;
CREATE INDEX contact_states_present ON contact_states (contact_id) WHERE visit_started_at IS NOT NULL;
COMMENT ON COLUMN contact_states.checkpoint IS
'Events and intervals up to here are settled, stored intervals that start later are invalidated; NULL: settled up to the watermark';
COMMENT ON COLUMN contact_states.first_event_at IS
'When the first remaining event was received; intervals that start earlier were kept by retention';
COMMENT ON COLUMN contact_states.status IS 'As the last event set it; NULL: not known';
COMMENT ON COLUMN contact_states.since IS 'When the span with that status began';
COMMENT ON COLUMN contact_states.span_events IS 'Events in that span up to the last one; NULL: not known';
COMMENT ON COLUMN contact_states.span_first_event_at IS 'When the first of these events was received';
COMMENT ON COLUMN contact_states.visit_started_at IS 'When the visit began that is not finished; NULL: not in the chat';

-- +goose StatementBegin
CREATE FUNCTION status_name(status smallint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (ARRAY['AVAILABLE', 'UNAVAILABLE', 'COMPOSING', 'PAUSED', 'RECORDING'])[status];
-- +goose StatementEnd

-- Creates the partition of a calendar month (UTC) of events or intervals if it does not exist. A separate table is created and
-- attached, because CREATE TABLE ... PARTITION OF would lock out readers and writers of the whole table while it waits for its
-- lock. Returns whether it created one; then call renew_plans.
-- +goose StatementBegin
CREATE FUNCTION make_partition(parent text, month date) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    first_day date := date_trunc('month', month::timestamp);
    partition text := parent || '_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM FROM locks WHERE locks.name = 'partitions' FOR UPDATE;
    -- to_regclass may not know yet what was created while this waited.
    IF EXISTS (
        SELECT FROM pg_catalog.pg_class AS c
        WHERE c.relname = partition AND c.relnamespace = (SELECT p.relnamespace FROM pg_catalog.pg_class AS p WHERE p.oid = parent::regclass)
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition, parent);
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        parent,
        partition,
        first_day::timestamp AT TIME ZONE 'UTC',
        (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC'
    );
    RETURN true;
END
$$;
-- +goose StatementEnd

-- Makes other sessions replan queries of events and intervals. PostgreSQL does so by itself when a partition is attached, but
-- misses a plan that is being made at that moment, if the table is in an inlined function: that plan would be kept, and never
-- see the partition. So call this after such plans have been made.
-- +goose StatementBegin
CREATE FUNCTION renew_plans() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE ONLY events ALTER COLUMN received_at SET STATISTICS -1;
    ALTER TABLE ONLY intervals ALTER COLUMN started_at SET STATISTICS -1;
END
$$;
-- +goose StatementEnd

-- Completes the BRIN indexes of the month that is being written, if the caller owns them. PostgreSQL does it once a minute;
-- until then, each query for the last seconds would read all rows of that minute. The last pages are left out, since their
-- summary would change with each row. The loop ends at the first complete range, and does not wait for VACUUM.
-- +goose StatementBegin
CREATE FUNCTION complete_time_indexes() RETURNS void
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
    i record;
    page bigint;
BEGIN
    FOR i IN
        SELECT
            x.indexrelid AS index,
            parent.pages_per_range,
            pg_relation_size(x.indrelid) / current_setting('block_size')::integer AS pages
        FROM (VALUES ('events', 32), ('intervals', 16)) AS parent (name, pages_per_range)
        INNER JOIN pg_catalog.pg_index AS x
            ON x.indrelid = to_regclass(parent.name || '_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM'))
        INNER JOIN pg_catalog.pg_class AS c ON c.oid = x.indexrelid
        INNER JOIN pg_catalog.pg_am AS a ON a.oid = c.relam AND a.amname = 'brin'
        WHERE pg_has_role(c.relowner, 'USAGE') AND NOT pg_is_in_recovery()
    LOOP
        page := (i.pages / i.pages_per_range - 1) * i.pages_per_range;
        WHILE page >= 0 AND brin_summarize_range(i.index, page) > 0 LOOP
            page := page - i.pages_per_range;
        END LOOP;
    END LOOP;
END
$$;
-- +goose StatementEnd

-- Where the first partition of events or intervals begins.
-- +goose StatementBegin
CREATE FUNCTION first_month(parent text) RETURNS timestamptz
LANGUAGE sql STABLE
RETURN (
    SELECT min(to_date(right(relid::regclass::text, 7), 'YYYY_MM'))::timestamp AT TIME ZONE 'UTC'
    FROM pg_partition_tree(parent::regclass)
    WHERE isleaf
);
-- +goose StatementEnd

-- +goose Down
DROP TABLE contact_states, events, contacts, analysts, instances, settings, locks;
DROP FUNCTION first_month, complete_time_indexes, renew_plans, make_partition, status_name;
