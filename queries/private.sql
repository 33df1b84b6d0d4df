-- name: RevokeCreateStatement :many
-- PUBLIC may create in schema public of a server up to version 14, and where such a one was upgraded. No row: it may not, or
-- only somebody else can change that.
SELECT format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', n.nspname)::text AS statement
FROM pg_catalog.pg_namespace AS n
WHERE
    n.nspname = current_schema()
    AND has_schema_privilege('public', n.oid, 'CREATE')
    AND pg_has_role(n.nspowner, 'USAGE');

-- name: RepairSchemaStatements :many
-- Roles that can create functions or operators in the service's schema could have the service run them: an overload may match a
-- call better than the intended function. These statements revoke that right and drop what was created. Trusted are superusers,
-- the service, and the owners of its schema and tables.
WITH schema AS (
    SELECT n.oid, n.nspname, n.nspowner, has_schema_privilege('public', n.oid, 'CREATE') AS public_creates
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname = current_schema()
),

untrusted AS (
    SELECT r.oid, r.rolname
    FROM pg_catalog.pg_roles AS r
    CROSS JOIN schema AS s
    WHERE
        NOT r.rolsuper
        AND r.rolname <> current_user
        AND NOT pg_has_role(r.oid, s.nspowner, 'USAGE')
        AND NOT coalesce(
            pg_has_role(r.oid, (SELECT c.relowner FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('events')), 'USAGE'), false
        )
)

SELECT format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', s.nspname)::text AS statement
FROM schema AS s
WHERE s.public_creates
UNION ALL
SELECT format('REVOKE CREATE ON SCHEMA %I FROM %I', s.nspname, u.rolname)
FROM schema AS s
CROSS JOIN untrusted AS u
WHERE NOT s.public_creates AND has_schema_privilege(u.oid, s.oid, 'CREATE')
UNION ALL
SELECT format(
    'DROP OPERATOR %I.%s (%s, %s)',
    s.nspname,
    o.oprname,
    CASE o.oprleft WHEN 0 THEN 'NONE' ELSE format_type(o.oprleft, NULL) END,
    format_type(o.oprright, NULL)
)
FROM schema AS s
INNER JOIN pg_catalog.pg_operator AS o ON o.oprnamespace = s.oid
INNER JOIN untrusted AS u ON u.oid = o.oprowner
UNION ALL
SELECT format('DROP ROUTINE %I.%I(%s)', s.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
FROM schema AS s
INNER JOIN pg_catalog.pg_proc AS p ON p.pronamespace = s.oid
INNER JOIN untrusted AS u ON u.oid = p.proowner;

-- name: ConnectionsLeft :one
-- How many more connections PostgreSQL accepts.
SELECT (
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
    - (SELECT sum(d.numbackends) FROM pg_catalog.pg_stat_database AS d)
)::integer AS connections;
