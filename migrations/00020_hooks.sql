-- +goose Up

-- The events received after a moment that is not long ago. The planner does not know how short that time is and would
-- read the whole key or the whole table; the BRIN index names the few pages that are needed.
-- +goose StatementBegin
CREATE FUNCTION recent_events(after timestamptz)
RETURNS TABLE (contact_id integer, received_at timestamptz, seq smallint, status smallint)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1000
SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_seqscan = off AS $$
SELECT e.contact_id, e.received_at, e.seq, e.status
FROM events AS e
WHERE e.received_at > after
$$;
-- +goose StatementEnd

-- The changes of statuses after a moment, of the contacts with an event after active_since. previous is 0 for a first status.
-- +goose StatementBegin
CREATE FUNCTION status_changes(active_since timestamptz, after timestamptz, now timestamptz)
RETURNS TABLE (
    instance text, phone text, status smallint, previous smallint, since timestamptz, last_event_at timestamptz
)
LANGUAGE sql STABLE AS $$
SELECT
    i.name,
    c.phone,
    s.status,
    s.previous,
    s.started_at,
    (SELECT max(e.received_at) FROM events AS e WHERE e.contact_id = c.id AND e.received_at <= s.started_at)
FROM (SELECT DISTINCT r.contact_id FROM recent_events(active_since) AS r) AS active
CROSS JOIN LATERAL (SELECT * FROM contacts AS k WHERE k.id = active.contact_id LIMIT 1) AS c
INNER JOIN instances AS i ON i.id = c.instance_id
CROSS JOIN LATERAL (
    SELECT p.status, p.started_at, coalesce(lag(p.status) OVER (ORDER BY p.started_at), 0::smallint) AS previous
    FROM spans(c.id, after, now + interval '1 microsecond', now) AS p
) AS s
WHERE s.started_at > after
ORDER BY s.started_at
$$;
-- +goose StatementEnd

-- The addresses that get messages about changes.
CREATE TABLE hooks (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    url text NOT NULL,
    secret text NOT NULL,
    kinds text [] NOT NULL,
    instances text [] NOT NULL,
    private boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    failing_since timestamptz,
    last_error text,
    dropped bigint NOT NULL DEFAULT 0,
    disabled_at timestamptz
);
COMMENT ON COLUMN hooks.secret IS 'signs the messages; the receiver has it too, so it cannot be stored as a digest';
COMMENT ON COLUMN hooks.kinds IS 'typing, recording, idle, available, unavailable';
COMMENT ON COLUMN hooks.instances IS 'only changes in these; none: in all';
COMMENT ON COLUMN hooks.private IS 'may be at an address that is not public';
COMMENT ON COLUMN hooks.failing_since IS 'since when no message has been accepted; NULL: the last one was';
COMMENT ON COLUMN hooks.dropped IS 'messages that were given up';

CREATE TABLE hook_deliveries (
    hook_id integer NOT NULL REFERENCES hooks ON DELETE CASCADE,
    id text NOT NULL,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    PRIMARY KEY (hook_id, id)
);
CREATE INDEX hook_deliveries_due ON hook_deliveries (hook_id, due_at) WHERE delivered_at IS NULL;
COMMENT ON TABLE hook_deliveries IS 'Messages to send, and for an hour those that were sent, so that none is made twice';
COMMENT ON COLUMN hook_deliveries.id IS 'depends only on the change';
COMMENT ON COLUMN hook_deliveries.body IS 'empty once it is delivered';

-- One process sends: the one that has renewed its lease. A lease, unlike a lock, also works behind a pooler.
CREATE TABLE hook_lease (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder uuid,
    expires_at timestamptz NOT NULL DEFAULT '-infinity',
    queued_until timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN hook_lease.queued_until IS 'the messages about changes up to here are in hook_deliveries';
INSERT INTO hook_lease DEFAULT VALUES;

-- +goose Down
DROP TABLE hook_lease, hook_deliveries, hooks;
DROP FUNCTION status_changes, recent_events;
