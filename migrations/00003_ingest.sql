-- +goose Up
CREATE TABLE rejected_payloads (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    gateway text NOT NULL,
    reason text NOT NULL,
    bytes integer NOT NULL,
    body bytea
);
CREATE INDEX rejected_payloads_received_at ON rejected_payloads (received_at, id);
COMMENT ON TABLE rejected_payloads IS 'Payloads of authorized senders that are not valid, kept for inspection and retry';
COMMENT ON COLUMN rejected_payloads.bytes IS 'the length of the payload';
COMMENT ON COLUMN rejected_payloads.body IS 'as sent, at most its first 64 KiB; NULL if its type is unknown, since it may be a message';

-- Receivers cache the ids of contacts. An id whose contact is erased must not be used again, so each erasure advances this
-- sequence, by which they notice.
CREATE SEQUENCE erasure_count;

-- Changes when cached contact ids may mean other contacts: on another server (as after a failover), in another database,
-- after TRUNCATE, a restore or an erasure. An expression without a subquery, so that it is inlined. It costs microseconds, so
-- queries over many rows compute it once, in a subquery.
-- +goose StatementBegin
CREATE FUNCTION database_identity() RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN hashtextextended(
    extract(EPOCH FROM pg_postmaster_start_time())::text || ' ' || pg_relation_filepath('contacts'::regclass)
    || ' ' || coalesce(pg_sequence_last_value('erasure_count'::regclass), 0)::text, 0
);
-- +goose StatementEnd

-- Finds the ids of contacts and adds those that are new, in one statement. An id is 0 if the limit is reached, if another
-- writer adds the contact at the same moment, or if the instance ids are from another database. Everybody adds in the same
-- order, so that writers who add the same contacts wait for each other instead of deadlocking. A plan is kept, and contacts
-- may multiply before PostgreSQL makes another: so it is never one that reads all of them.
-- +goose StatementBegin
CREATE FUNCTION resolve_contacts(instance_ids integer [], phones text [], max_new integer, expected_database bigint)
RETURNS TABLE (place integer, id integer, added boolean, actual_database bigint)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH wanted AS MATERIALIZED (
        SELECT
            k.instance_id,
            k.phone,
            k.place,
            (SELECT c.id FROM contacts AS c WHERE c.instance_id = k.instance_id AND c.phone = k.phone) AS id
        FROM unnest(instance_ids, phones) WITH ORDINALITY AS k (instance_id, phone, place)
    ),

    added AS (
        INSERT INTO contacts (instance_id, phone)
        SELECT w.instance_id, w.phone
        FROM wanted AS w
        WHERE w.id IS NULL AND (SELECT database_identity()) = expected_database
        ORDER BY w.instance_id, w.phone
        LIMIT max_new
        ON CONFLICT DO NOTHING
        RETURNING id, instance_id, phone
    )

    SELECT w.place::integer, coalesce(w.id, a.id, 0), a.id IS NOT NULL, (SELECT database_identity())
    FROM wanted AS w
    LEFT JOIN added AS a ON a.instance_id = w.instance_id AND a.phone = w.phone;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION resolve_contacts, database_identity;
DROP SEQUENCE erasure_count;
DROP TABLE rejected_payloads;
