-- name: CreateAnalystStatements :many
-- What makes a role. Such statements cannot have parameters, so they come made.
SELECT
    unnest(ARRAY[
        format('CREATE ROLE %I LOGIN PASSWORD %L', @role_name::text, @password::text),
        format('ALTER ROLE %I SET search_path = analytics', @role_name),
        format('ALTER ROLE %I SET default_transaction_read_only = on', @role_name),
        format('ALTER ROLE %I SET jit = off', @role_name), -- compiling costs these queries more than it saves
        format('GRANT USAGE ON SCHEMA analytics TO %I', @role_name)
    ])::text AS statement;

-- name: DropAnalystStatements :many
-- Only members of a role may drop what it owns, as its temporary tables, and what it may do.
SELECT
    unnest(ARRAY[
        format('GRANT %I TO CURRENT_USER', @role_name::text),
        format('DROP OWNED BY %I', @role_name),
        format('DROP ROLE %I', @role_name)
    ])::text AS statement;

-- name: AddAnalyst :exec
-- instance_id NULL: all instances.
INSERT INTO analysts (role_name, instance_id) VALUES (@role_name::text, sqlc.narg(instance_id));

-- name: DropAnalyst :execrows
DELETE FROM analysts WHERE role_name = @role_name::text;

-- name: ListAnalysts :many
SELECT a.role_name::text AS role_name, i.name AS instance
FROM analysts AS a
LEFT JOIN instances AS i ON i.id = a.instance_id
ORDER BY a.role_name, i.name;
