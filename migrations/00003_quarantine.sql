-- +goose Up
CREATE TABLE quarantine (
    id uuid PRIMARY KEY,
    received_at timestamptz NOT NULL,
    gateway text NOT NULL,
    reason text NOT NULL,
    body bytea NOT NULL
);
CREATE INDEX quarantine_received_at ON quarantine (received_at, id);
COMMENT ON TABLE quarantine IS 'What known senders sent that could not be understood, to look at and to try again after an upgrade';
COMMENT ON COLUMN quarantine.body IS 'as sent, at most its first 64 KiB';

-- +goose Down
DROP TABLE quarantine;
