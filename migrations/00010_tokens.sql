-- +goose Up
CREATE TABLE tokens (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL,
    digest bytea NOT NULL UNIQUE CHECK (length(digest) = 32),
    scopes text [] NOT NULL,
    instances text [],
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    last_used_from text
);
COMMENT ON TABLE tokens IS 'API tokens and webhook secrets; those that have expired or are revoked stay as a record';
COMMENT ON COLUMN tokens.name IS 'who holds it; while one is rotated, two rows have the same name';
COMMENT ON COLUMN tokens.digest IS 'SHA-256 of the secret, which is not stored';
COMMENT ON COLUMN tokens.instances IS 'instanceIds that it is limited to, which need not exist yet; NULL: all';
COMMENT ON COLUMN tokens.last_used_from IS 'client address; written at most every 30 s, as is last_used_at';

CREATE TABLE sessions (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    token_digest bytea NOT NULL CHECK (length(token_digest) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_token_digest ON sessions (token_digest, created_at);
COMMENT ON TABLE sessions IS 'Browsers that signed in with a token; a session is valid as long as its token is';
COMMENT ON COLUMN sessions.token_digest IS 'tokens.digest, or the digest of a token from the environment';

-- +goose Down
DROP TABLE sessions, tokens;
