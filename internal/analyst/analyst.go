// Package analyst makes and drops the roles of PostgreSQL that read the views of schema analytics, and nothing else.
package analyst

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// Analyst is a role and the instances that it sees; none means all.
type Analyst struct {
	Name      string   `json:"name"`
	Instances []string `json:"instances"`
}

// maxName is how long a name of PostgreSQL may be; it would cut off the rest.
const maxName = 63

// Create makes a role that may log in with the password, reads only, and sees the instances.
func Create(ctx context.Context, pool *pgxpool.Pool, a Analyst, password string) error {
	if a.Name == "" || len(a.Name) > maxName {
		return fmt.Errorf("a name has 1 to %d bytes", maxName)
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		statements, err := q.CreateAnalystStatements(ctx, a.Name, password)
		if err != nil {
			return err
		}
		if err := run(ctx, tx, statements); err != nil {
			return err
		}
		if len(a.Instances) == 0 {
			return q.AddAnalyst(ctx, a.Name, nil)
		}
		for _, instance := range a.Instances {
			id, err := q.FindInstance(ctx, instance)
			if errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("there is no instance %q", instance)
			}
			if err == nil {
				err = q.AddAnalyst(ctx, a.Name, &id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Drop takes away a role that Create made.
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

// explain says what to do about an error of making a role.
func explain(err error, user string) error {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return err
	}
	switch refused.Code {
	case "42501": // insufficient_privilege
		return fmt.Errorf("the role %s, which presencelog works as, may not make or drop this role: as a superuser, run "+
			"ALTER ROLE %s CREATEROLE (%w)", user, pgx.Identifier{user}.Sanitize(), err)
	case "42710": // duplicate_object
		return errors.New("there is a role of this name already; take another, or drop it first")
	}
	return err
}
