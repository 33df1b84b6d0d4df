-- name: CreateAnalystStatements :many
-- The statements that create a role. They cannot have parameters, so the query returns them complete. A role may change its
-- timeouts, which only end forgotten sessions and queries. It cannot change its limits on connections and temporary files, and
-- cannot lock anything that the service waits for.
SELECT
    unnest(ARRAY[
        format('CREATE ROLE %I LOGIN PASSWORD %L CONNECTION LIMIT %s', @role_name::text, @verifier::text, @connections::integer),
        format('ALTER ROLE %I SET search_path = analytics', @role_name),
        format('ALTER ROLE %I SET default_transaction_read_only = on', @role_name),
        format('ALTER ROLE %I SET statement_timeout = %L', @role_name, @statement_timeout::text),
        format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''60s''', @role_name),
        format('ALTER ROLE %I SET lock_timeout = ''10s''', @role_name),
        format('ALTER ROLE %I SET jit = off', @role_name) -- compiling costs these queries more than it saves
    ])::text AS statement
UNION ALL
-- Of each session: what does not fit into memory could fill the disk. Only superusers may set it.
SELECT format('ALTER ROLE %I SET temp_file_limit = ''2GB''', @role_name)
WHERE (SELECT r.rolsuper FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user);

-- name: RestrictStatements :many
-- Revokes what PUBLIC may do in a new database and analysts do not need: fill the disk with temporary tables and large objects.
-- Only those statements that the service may run.
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', d.datname)::text AS statement
FROM pg_catalog.pg_database AS d
WHERE
    d.datname = current_database()
    AND has_database_privilege('public', d.oid, 'TEMPORARY')
    AND pg_has_role(d.datdba, 'USAGE')
UNION ALL
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', p.oid::regprocedure)
FROM pg_catalog.pg_proc AS p
WHERE
    p.pronamespace = 'pg_catalog'::regnamespace
    AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea')
    AND has_function_privilege('public', p.oid, 'EXECUTE')
    AND pg_has_role(p.proowner, 'USAGE');

-- name: RoleExists :one
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = @role_name::text);

-- name: DropAnalystStatements :many
-- Only members of a role may drop what it owns, as its temporary tables, and what it may do.
SELECT
    unnest(ARRAY[
        format('GRANT %I TO CURRENT_USER', @role_name::text),
        format('DROP OWNED BY %I', @role_name),
        format('DROP ROLE %I', @role_name)
    ])::text AS statement;

-- name: AddAnalyst :exec
-- instance NULL: all instances.
INSERT INTO analysts (role_name, instance) VALUES (@role_name::text, sqlc.narg(instance));

-- name: DropAnalyst :execrows
DELETE FROM analysts WHERE role_name = @role_name::text;

-- name: ListAnalysts :many
SELECT role_name::text AS role_name, instance FROM analysts ORDER BY 1, 2;
