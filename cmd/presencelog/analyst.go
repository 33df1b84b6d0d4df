package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/analyst"
)

type analystCmd struct {
	Create analystCreateCmd `cmd:"" help:"Create a PostgreSQL role that can read the views of schema analytics and nothing else."`
	List   analystListCmd   `cmd:"" help:"List the roles and the instances that they may read."`
	Drop   analystDropCmd   `cmd:"" help:"Drop a role that was created by analyst create."`
}

type analystCreateCmd struct {
	database
	Name             string        `arg:"" help:"The role's name."`
	Instance         []string      `placeholder:"ID" help:"Instances that it may read; default: all."`
	Password         string        `env:"PRESENCELOG_ANALYST_PASSWORD" placeholder:"PASSWORD" help:"Password; default: a random one, which is shown only once."`
	StatementTimeout time.Duration `default:"60s" help:"Cancel the role's statements after this duration."`
}

func (c *analystCreateCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		login := analyst.Login{Password: c.Password, StatementTimeout: c.StatementTimeout}
		shown := ""
		if login.Password == "" {
			shown = rand.Text()
			login.Password = shown
		}
		if err := analyst.Create(ctx, pool, analyst.Analyst{Name: c.Name, Instances: c.Instance}, login); err != nil {
			return err
		}
		database := pool.Config().ConnString()
		url, err := analyst.URL(database, c.Name, shown)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("psql %s\n\nurl       %s\n", shellQuote(url), url)
		if shown != "" {
			text += fmt.Sprintf("password  %s (shown only once)\n", shown)
		}
		if _, err := fmt.Print(text); err != nil {
			return fmt.Errorf("writing the address: %w; drop the role and create it again", err)
		}
		withPassword, err := analyst.URL(database, c.Name, login.Password)
		if err != nil {
			return err
		}
		if err := analyst.Try(ctx, withPassword); err != nil {
			return fmt.Errorf("the role is created, but cannot connect yet: allow it in pg_hba.conf of the server, and in the "+
				"configuration of a connection pooler: %w", err)
		}
		if c.DatabaseURL == "" {
			fmt.Fprintf(os.Stderr, "This address works on this machine, for the user that runs presencelog, while serve runs. For other users and "+
				"machines, presencelog needs a PostgreSQL server: set DATABASE_URL.\n")
		}
		return nil
	})
}

// shellQuote quotes an argument for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

type analystListCmd struct {
	database
	listFlags
}

func (c *analystListCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		list, err := analyst.List(ctx, pool)
		if err != nil {
			return err
		}
		rows := [][]string{{"name", "instances"}}
		for _, a := range list {
			rows = append(rows, []string{a.Name, orAll(a.Instances)})
		}
		return c.print(list, rows)
	})
}

type analystDropCmd struct {
	database
	Name string `arg:"" help:"The role's name."`
}

func (c *analystDropCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error { return analyst.Drop(ctx, pool, c.Name) })
}
