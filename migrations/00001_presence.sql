-- +goose Up

-- What holds for the whole service: one row. An instance may override a timeout (instances).
CREATE TABLE settings (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    typing_timeout interval NOT NULL DEFAULT '25 s',
    recording_timeout interval NOT NULL DEFAULT '25 s',
    presence_timeout interval NOT NULL DEFAULT '5 min',
    CHECK (least(typing_timeout, recording_timeout, presence_timeout) >= '1 s'),
    CHECK (greatest(typing_timeout, recording_timeout, presence_timeout) <= '24 h')
);
COMMENT ON COLUMN settings.typing_timeout IS 'COMPOSING that no event renews becomes PAUSED after this long';
COMMENT ON COLUMN settings.recording_timeout IS 'RECORDING that no event renews becomes PAUSED after this long';
COMMENT ON COLUMN settings.presence_timeout IS 'AVAILABLE or PAUSED that no event renews becomes UNAVAILABLE after this long';
INSERT INTO settings DEFAULT VALUES;

CREATE TABLE instances (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    typing_timeout interval,
    recording_timeout interval,
    presence_timeout interval,
    CHECK (least(typing_timeout, recording_timeout, presence_timeout) >= '1 s'),
    CHECK (greatest(typing_timeout, recording_timeout, presence_timeout) <= '24 h')
);
COMMENT ON TABLE instances IS 'The connected numbers; a timeout that is NULL is the one in settings';
COMMENT ON COLUMN instances.name IS 'instanceId as the gateway sends it';

CREATE TABLE contacts (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance_id integer NOT NULL REFERENCES instances,
    phone text COLLATE "C" NOT NULL,
    UNIQUE (instance_id, phone)
);
COMMENT ON COLUMN contacts.phone IS 'phone as the gateway sends it, within one instance';

-- The columns stand in the order that packs a row best: 44 bytes with its line pointer when last_seen and extra are NULL.
-- No foreign key to contacts: its check would cost each insert a look-up; the writer takes contact_id from contacts.
-- The key is also the one index that serves a contact's history; status rides along so that spans need the index alone.
CREATE TABLE events (
    received_at timestamptz NOT NULL,
    last_seen bigint,
    contact_id integer NOT NULL,
    seq smallint NOT NULL,
    status smallint NOT NULL,
    extra json,
    PRIMARY KEY (contact_id, received_at, seq) INCLUDE (status)
) PARTITION BY RANGE (received_at);
COMMENT ON TABLE events IS 'Every presence event, for ever as it came; partitioned by calendar month, UTC';
COMMENT ON COLUMN events.received_at IS 'the receiver''s clock';
COMMENT ON COLUMN events.seq IS 'orders the events of a contact that have the same received_at: a later arrival has the larger one';
COMMENT ON COLUMN events.status IS '1 AVAILABLE, 2 UNAVAILABLE, 3 COMPOSING, 4 PAUSED, 5 RECORDING';
COMMENT ON COLUMN events.last_seen IS 'lastSeen as sent; its unit differs between gateways';
COMMENT ON COLUMN events.extra IS 'the fields that presencelog does not know, as sent; NULL if there were none';

-- Rows lie on disk nearly in time order, so this index of a few pages finds what was received in the last minutes, of all contacts.
CREATE INDEX events_received_at ON events USING brin (received_at)
WITH (pages_per_range = 32, autosummarize = on);

-- +goose StatementBegin
CREATE FUNCTION status_name(status smallint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (ARRAY['AVAILABLE', 'UNAVAILABLE', 'COMPOSING', 'PAUSED', 'RECORDING'])[status];
-- +goose StatementEnd

-- Makes the partition of a calendar month (UTC) unless it is there. A table of its own is attached, because
-- CREATE TABLE … PARTITION OF would lock out readers and writers of all of events while it waits for its lock.
-- +goose StatementBegin
CREATE FUNCTION make_events_partition(month date) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    first_day date := date_trunc('month', month::timestamp);
    name text := 'events_' || to_char(first_day, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('presencelog.make_events_partition'));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
    EXECUTE format(
        'ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name,
        first_day::timestamp AT TIME ZONE 'UTC',
        (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC'
    );
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP TABLE events, contacts, instances, settings;
DROP FUNCTION make_events_partition, status_name;
