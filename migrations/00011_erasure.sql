-- +goose Up

-- What was erased, without phones: an audit. It also identifies events that were received before an erasure and return from the
-- spool or an import, and events of blocked contacts.
CREATE TABLE erasures (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance text COLLATE "C" NOT NULL,
    subject bytea NOT NULL CHECK (length(subject) = 32),
    whole_instance boolean NOT NULL,
    blocked boolean NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    erased_by text NOT NULL,
    events bigint NOT NULL DEFAULT 0
);
COMMENT ON COLUMN erasures.subject IS 'HMAC-SHA-256 of the instance and phone, or of the instance alone, by the key in erasure_key';
COMMENT ON COLUMN erasures.erased_by IS 'the name of the token, or "command line"';
COMMENT ON COLUMN erasures.events IS 'how many events were deleted';

CREATE TABLE erasure_key (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    key bytea NOT NULL DEFAULT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
);
INSERT INTO erasure_key DEFAULT VALUES;

-- +goose Down
DROP TABLE erasure_key, erasures;
