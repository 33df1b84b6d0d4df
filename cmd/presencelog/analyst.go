package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/analyst"
)

type analystCmd struct {
	Create analystCreateCmd `cmd:"" help:"Make a role of PostgreSQL that reads the views of schema analytics, and nothing else."`
	List   analystListCmd   `cmd:"" help:"List these roles and the instances they see."`
	Drop   analystDropCmd   `cmd:"" help:"Take away a role that create made."`
}

type analystCreateCmd struct {
	database
	Name     string   `arg:"" help:"The role's name."`
	Instance []string `placeholder:"ID" help:"An instance that it may see, or several; default: all."`
	Password string   `env:"PRESENCELOG_ANALYST_PASSWORD" help:"Default: one is made up and shown this once."`
}

func (c *analystCreateCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		password := c.Password
		if password == "" {
			password = rand.Text()
		}
		if err := analyst.Create(ctx, pool, analyst.Analyst{Name: c.Name, Instances: c.Instance}, password); err != nil {
			return err
		}
		if c.Password == "" {
			fmt.Printf("password of %s, which is not shown again: %s\n", c.Name, password)
		}
		return nil
	})
}

type analystListCmd struct {
	database
	JSON bool `help:"Write JSON."`
}

func (c *analystListCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		list, err := analyst.List(ctx, pool)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(list)
		}
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "name\tinstances")
		for _, a := range list {
			instances := strings.Join(a.Instances, ", ")
			if instances == "" {
				instances = "(all)"
			}
			fmt.Fprintf(out, "%s\t%s\n", a.Name, instances)
		}
		return out.Flush()
	})
}

type analystDropCmd struct {
	database
	Name string `arg:"" help:"The role's name."`
}

func (c *analystDropCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error { return analyst.Drop(ctx, pool, c.Name) })
}
