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

-- name: LockContactStates :exec
SELECT FROM contact_states WHERE contact_id = any(@contact_ids::integer []) ORDER BY contact_id FOR UPDATE;

-- name: EraseEvents :execrows
DELETE FROM events WHERE contact_id = any(@contact_ids::integer []);

-- name: EraseIntervals :exec
DELETE FROM intervals WHERE contact_id = any(@contact_ids::integer []);

-- name: DeleteEmptySums :exec
-- Of quarters of an hour in which nobody of the instance did anything that is still stored.
DELETE FROM interval_sums WHERE instance_id = @instance_id AND starts = 0 AND micros = 0;

-- name: EraseContactStates :exec
DELETE FROM contact_states WHERE contact_id = any(@contact_ids::integer []);

-- name: EraseContacts :exec
DELETE FROM contacts WHERE id = any(@contact_ids::integer []);

-- name: LockInstance :exec
-- Waits for transactions that add contacts to it.
SELECT FROM instances WHERE name = @instance FOR UPDATE;

-- name: EraseInstance :exec
-- Not while it has contacts: a receiver has just added them, and the next pass deletes them.
DELETE FROM instances AS i
WHERE i.name = @instance AND NOT EXISTS (SELECT FROM contacts AS c WHERE c.instance_id = i.id);

-- name: EraseHookDeliveries :exec
-- Messages have strings as to_json writes them.
DELETE FROM hook_deliveries
WHERE
    strpos(body, to_json(@instance::text)::text) > 0
    AND (strpos(body, to_json(@phone::text)::text) > 0 OR @phone = '');

-- name: InvalidateContactIDs :exec
SELECT nextval('erasure_count');

-- name: ListRejectedBodies :many
SELECT id, reason, body FROM rejected_payloads WHERE id > @after_id ORDER BY id LIMIT @max_rows;

-- name: AnalyzeErased :exec
-- The planner's statistics have values of rows: phones, instances and payloads. A role that does not own the tables skips this.
ANALYZE contacts, instances, rejected_payloads, hook_deliveries;
