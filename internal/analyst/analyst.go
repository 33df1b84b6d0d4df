// Package analyst creates and drops PostgreSQL roles that can only read the views of schema analytics, for people and BI tools.
package analyst

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
)

// Analyst is a role and the instances that it sees; none means all.
type Analyst struct {
	Name      string   `json:"name"`
	Instances []string `json:"instances"`
}

// maxName is the maximum length of a name. PostgreSQL truncates longer ones.
const maxName = 63

// Login is how an analyst connects.
type Login struct {
	Password         string        // printable ASCII
	StatementTimeout time.Duration // after which a statement is cancelled
}

// connections is the maximum per analyst: enough for a tool's pool, and few enough to leave some for the service.
const connections = 10

// Create creates a read-only role that can log in with the password and sees the instances. It fails if other roles could
// create functions that run with the service's rights.
func Create(ctx context.Context, pool *pgxpool.Pool, a Analyst, login Login) error {
	if a.Name == "" || len(a.Name) > maxName {
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	}
	if login.StatementTimeout < time.Millisecond {
		return errors.New("the statement timeout must be 1ms or more")
	}
	verifier, err := scramVerifier(login.Password)
	if err != nil {
		return err
	}
	if err := postgres.CheckPrivate(ctx, pool); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		restrict, err := q.RestrictStatements(ctx)
		if err != nil {
			return err
		}
		statements, err := q.CreateAnalystStatements(ctx, db.CreateAnalystStatementsParams{
			RoleName: a.Name, Verifier: verifier, Connections: connections,
			StatementTimeout: fmt.Sprintf("%dms", login.StatementTimeout.Milliseconds()),
		})
		if err != nil {
			return err
		}
		if err := run(ctx, tx, slices.Concat(restrict, statements)); err != nil {
			return err
		}
		// A restored database lists analysts whose roles exist only on the old server.
		if _, err := q.DropAnalyst(ctx, a.Name); err != nil {
			return err
		}
		if len(a.Instances) == 0 {
			return q.AddAnalyst(ctx, db.AddAnalystParams{RoleName: a.Name, Instance: nil})
		}
		for _, instance := range a.Instances {
			if _, err := q.FindInstance(ctx, instance); errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("there is no instance %q", instance)
			} else if err != nil {
				return err
			}
			if err := q.AddAnalyst(ctx, db.AddAnalystParams{RoleName: a.Name, Instance: &instance}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Drop drops a role that Create has created, or forgets it if the database was restored on a server without it.
func Drop(ctx context.Context, pool *pgxpool.Pool, name string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		n, err := q.DropAnalyst(ctx, name)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("there is no analyst %q", name)
		}
		exists, err := q.RoleExists(ctx, name)
		if err != nil || !exists {
			return err
		}
		statements, err := q.DropAnalystStatements(ctx, name)
		if err != nil {
			return err
		}
		return run(ctx, tx, statements)
	})
}

// List returns all analysts in the order of their names.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Analyst, error) {
	rows, err := db.New(pool).ListAnalysts(ctx)
	list := []Analyst{}
	for _, row := range rows {
		if n := len(list); n == 0 || list[n-1].Name != row.RoleName {
			list = append(list, Analyst{Name: row.RoleName, Instances: []string{}})
		}
		if row.Instance != nil {
			last := &list[len(list)-1]
			last.Instances = append(last.Instances, *row.Instance)
		}
	}
	return list, err
}

func run(ctx context.Context, tx pgx.Tx, statements []string) error {
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s); err != nil {
			return explain(err, tx.Conn().Config().User)
		}
	}
	return nil
}

// explain adds a solution to an error of creating or dropping a role.
func explain(err error, user string) error {
	switch postgres.ErrorCode(err) {
	case pgerrcode.InsufficientPrivilege:
		return fmt.Errorf("the role %s, which presencelog connects as, may not create or drop this role: as a superuser, run "+
			"ALTER ROLE %s CREATEROLE (%w)", user, pgx.Identifier{user}.Sanitize(), err)
	case pgerrcode.DuplicateObject:
		return errors.New("a role with this name already exists; choose another name, or drop it with SQL: DROP ROLE")
	}
	return err
}
