package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// CheckPrivate returns an error if untrusted roles may create objects in the service's schema, or have done so: their functions
// could run with the service's rights. The error has the statements that repair it.
func CheckPrivate(ctx context.Context, conn db.DBTX) error {
	repair, err := db.New(conn).RepairSchemaStatements(ctx)
	if err != nil || len(repair) == 0 {
		return err
	}
	return fmt.Errorf("other roles have created functions in the schema of presencelog, or may do so, and these could run with "+
		"its rights. If no other program needs them, run as a superuser:\n  %s;\n"+
		"If one does, give presencelog a database of its own", strings.Join(repair, ";\n  "))
}

// claimSchema makes sure that the schema is private before the service's tables are created there.
func claimSchema(ctx context.Context, pool *pgxpool.Pool) error {
	revoke, err := db.New(pool).RevokeCreateStatement(ctx)
	for _, statement := range revoke {
		if _, err := pool.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return CheckPrivate(ctx, pool)
}
