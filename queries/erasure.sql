-- name: ErasureKey :one
SELECT key FROM erasure_key;

-- name: AddErasure :exec
INSERT INTO erasures (instance, subject, whole_instance, blocked, erased_by, events)
VALUES (@instance, @subject, @whole_instance, @blocked, @erased_by, @events);

-- name: ListErasures :many
SELECT subject, blocked, erased_at FROM erasures;

-- name: ContactsToErase :many
-- An empty phone: all of the instance.
SELECT c.id
FROM contacts AS c
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE i.name = @instance AND (c.phone = @phone::text OR @phone = '');

-- name: EraseEvents :execrows
DELETE FROM events WHERE contact_id = any(@contact_ids::integer []);

-- name: EraseIntervals :exec
DELETE FROM intervals WHERE contact_id = any(@contact_ids::integer []);

-- name: EraseEmptySums :exec
-- Of quarters of an hour in which nobody else of the instance did anything.
DELETE FROM interval_sums WHERE instance_id = @instance_id AND starts = 0 AND micros = 0;

-- name: EraseContactStates :exec
DELETE FROM contact_states WHERE contact_id = any(@contact_ids::integer []);

-- name: EraseContacts :exec
DELETE FROM contacts WHERE id = any(@contact_ids::integer []);

-- name: EraseInstance :exec
DELETE FROM instances WHERE name = @instance;

-- name: EraseHookDeliveries :exec
-- Messages have strings as to_json writes them.
DELETE FROM hook_deliveries
WHERE
    strpos(body, to_json(@instance::text)::text) > 0
    AND (strpos(body, to_json(@phone::text)::text) > 0 OR @phone = '');

-- name: ForgetContactIDs :exec
SELECT nextval('erasure_count');

-- name: ListRejectedBodies :many
SELECT id, reason, body FROM rejected_payloads WHERE id > @after_id ORDER BY id LIMIT @max_rows;

-- name: ForgetValues :exec
-- The planner's statistics have values of rows: phones, instances and payloads. A role that does not own the tables skips this.
ANALYZE contacts, instances, rejected_payloads, hook_deliveries;
