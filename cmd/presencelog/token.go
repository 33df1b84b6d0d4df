package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/terminal"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Create a token and print its secret, which is shown only once."`
	List   tokenListCmd   `cmd:"" help:"List tokens, without their secrets."`
	Rotate tokenRotateCmd `cmd:"" help:"Replace a token's secret and print the new one; the old one stays valid for --overlap."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke a token. Running services notice within a second."`
}

type tokenCreateCmd struct {
	database
	Name     string       `arg:"" help:"Name of the token, for example its holder."`
	Scope    []auth.Scope `required:"" enum:"read,live,webhook,erase,admin" placeholder:"SCOPE" help:"What the token permits: ${enum}."`
	Instance []string     `placeholder:"ID" help:"Instances that the token is limited to; default: all."`
	Expires  string       `placeholder:"90d" help:"When the token expires, counted from now; default: never."`
	JSON     bool         `help:"Write JSON."`
}

func (c *tokenCreateCmd) Run(ctx context.Context) error {
	t := auth.Token{Name: c.Name, Scopes: c.Scope, Instances: c.Instance}
	if c.Expires != "" {
		after, err := presence.ParseDuration(c.Expires)
		if err != nil || after <= 0 {
			return fmt.Errorf("--expires is %q; it must be a duration like 90d, 12w or 36h", c.Expires)
		}
		t.ExpiresAt = new(presence.Now().Add(after))
	}
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		secret, err := auth.Create(ctx, pool, t)
		if err != nil {
			return err
		}
		return printSecret(c.Name, secret, c.JSON)
	})
}

// printSecret writes the secret alone to standard output, for scripts.
func printSecret(name, secret string, asJSON bool) error {
	var err error
	if asJSON {
		err = terminal.PrintJSON(map[string]string{"name": name, "token": secret})
	} else {
		fmt.Fprintf(os.Stderr, "token of %s, shown only once:\n", name)
		_, err = fmt.Println(secret)
	}
	if err != nil {
		return fmt.Errorf("writing the secret: %w; presencelog token rotate replaces it", err)
	}
	return nil
}

type tokenListCmd struct {
	database
	listFlags
}

func (c *tokenListCmd) Run(ctx context.Context) error {
	return c.withPool(ctx, func(pool *pgxpool.Pool) error {
		list, err := auth.List(ctx, pool)
		if err != nil {
			return err
		}
		rows := [][]string{{"name", "scopes", "instances", "created", "expires", "last used", "from", "state"}}
		for _, t := range list {
			from, state := "-", "active"
			if t.LastUsedFrom != nil {
				from = *t.LastUsedFrom
			}
			if t.RevokedAt != nil {
				state = "revoked"
			} else if !t.Active(presence.Now()) {
				state = "expired"
			}
			rows = append(rows, []string{
				t.Name, joined(t.Scopes), orAll(t.Instances),
				momentOrDash(&t.CreatedAt), momentOrDash(t.ExpiresAt), momentOrDash(t.LastUsedAt), from, state,
			})
		}
		return c.print(list, rows)
	})
}

type tokenRotateCmd struct {
	database
	Name    string `arg:"" help:"The token's name."`
	Overlap string `default:"24h" help:"How long the old secret stays valid."`
	JSON    bool   `help:"Write JSON."`
}

func (c *tokenRotateCmd) Run(ctx context.Context) error {
	overlap, err := presence.ParseDuration(c.Overlap)
	if err != nil || overlap < 0 {
		return fmt.Errorf("--overlap is %q; it must be a duration like 24h or 7d", c.Overlap)
	}
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error {
		secret, err := auth.Rotate(ctx, pool, c.Name, overlap)
		if err != nil {
			return err
		}
		return printSecret(c.Name, secret, c.JSON)
	})
}

type tokenRevokeCmd struct {
	database
	Name string `arg:"" help:"The token's name."`
}

func (c *tokenRevokeCmd) Run(ctx context.Context) error {
	return c.withMigratedPool(ctx, func(pool *pgxpool.Pool) error { return auth.Revoke(ctx, pool, c.Name) })
}

// joined lists words for a cell.
func joined[T ~string](words []T) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	return strings.Join(list, ",")
}

// orAll lists instances for a cell; none means all.
func orAll(instances []string) string {
	if len(instances) == 0 {
		return "(all)"
	}
	return joined(instances)
}

func momentOrDash(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.Format(time.RFC3339)
}
