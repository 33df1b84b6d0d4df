package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/presencelog/presencelog/internal/bench"
	"github.com/presencelog/presencelog/internal/postgres/embedded"
)

type benchCmd struct {
	Load   benchLoadCmd   `cmd:"" default:"withargs" help:"Offer load to a receiver, or compare the service with others."`
	Scale  benchScaleCmd  `cmd:"" help:"Measure how questions are answered as history grows."`
	Server benchServerCmd `cmd:"" hidden:"" help:"Serve a baseline of --compare."`
}

type benchLoadCmd struct {
	URL     string `xor:"what" required:"" placeholder:"URL" help:"Send to this receiver: …/webhooks/zapi."`
	Compare bool   `xor:"what" required:"" help:"Measure the service against a handler that stores nothing and a naive service, in turn."`

	Connections []int         `placeholder:"N,…" help:"How many connections send, one measurement each; default: 64, with --compare 64,256."`
	Duration    time.Duration `default:"10s" help:"How long each measurement takes."`
	Contacts    int           `default:"10000" help:"How many contacts the events are of."`
	JSON        bool          `help:"Write JSON."`

	Token string  `help:"With --url: the webhook's secret."`
	Rate  float64 `help:"With --url: requests a second, whether or not earlier ones have been answered; default: each connection as fast as it can."`

	Runs    int   `default:"5" help:"With --compare: how many runs the medians are of."`
	Prefill int64 `placeholder:"N" help:"With --compare: measure the service also on a table of so many events, and while it rolls them up."`
	// Not from DATABASE_URL: that is where the history is, and a benchmark is no guest that one wants there by accident.
	DatabaseURL string `env:"-" placeholder:"URL" help:"With --compare: PostgreSQL to make databases on, which are dropped again; default: one in a temporary directory."`
}

func (c *benchLoadCmd) Run(ctx context.Context) error {
	if c.Duration <= 0 || c.Runs < 1 || c.Contacts < 1 {
		return errors.New("--duration, --runs and --contacts must be above 0")
	}
	bodies, err := bench.Bodies(c.Contacts)
	if err != nil {
		return err
	}
	if c.Compare {
		return c.compare(ctx, bodies)
	}
	if len(c.Connections) == 0 {
		c.Connections = []int{64}
	}
	var results []bench.Result
	for _, connections := range c.Connections {
		result, err := bench.Load{
			URL: c.URL, Token: c.Token, Connections: connections, Duration: c.Duration, Rate: c.Rate, Bodies: bodies,
		}.Run(ctx)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	if c.JSON {
		return printJSON(results)
	}
	return bench.WriteResults(os.Stdout, results)
}

func (c *benchLoadCmd) compare(ctx context.Context, bodies [][]byte) (err error) {
	if len(c.Connections) == 0 {
		c.Connections = []int{64, 256}
	}
	dir, err := os.MkdirTemp("", "presencelog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := os.Executable()
	if err != nil {
		return err
	}
	database := c.DatabaseURL
	if database == "" {
		server, err := embedded.Open(ctx, dir, embedded.Options{
			Settings: map[string]string{"max_connections": "200"}, // the servers' pools are all open at once
		})
		if err != nil {
			return err
		}
		defer server.Close()
		database = server.ConnString()
	}
	comparison := bench.Comparison{
		Connections: c.Connections, Duration: c.Duration, Runs: c.Runs, Prefill: c.Prefill, Bodies: bodies, Database: database,
		Command: func(kind bench.Kind, listen, database, token string) *exec.Cmd {
			args := []string{"bench", "server", "--kind", string(kind)}
			if kind != bench.DecodeOnly && kind != bench.Naive {
				args = []string{"serve", "--data-dir", filepath.Join(dir, string(kind))}
			}
			cmd := exec.Command(program, append(args, "--listen", listen)...)
			// Not as arguments, which everybody on the machine can read.
			cmd.Env = append(os.Environ(), "DATABASE_URL="+database, "PRESENCELOG_WEBHOOK_TOKENS="+token)
			return cmd
		},
		Progress: func(what string) { fmt.Fprintln(os.Stderr, what) },
	}
	report, err := comparison.Compare(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(report)
	}
	return bench.WriteReport(os.Stdout, report)
}

type benchScaleCmd struct {
	Events      []int64 `default:"1000000,20000000" placeholder:"N,…" help:"Sizes of history to measure; 20 million events take a quarter of an hour and 8 GB of disk."`
	Contacts    int     `default:"100000" help:"How many contacts the events are of."`
	Days        int     `default:"90" help:"Over how many days they are spread."`
	JSON        bool    `help:"Write JSON."`
	Markdown    bool    `help:"Write the table as Markdown."`
	DatabaseURL string  `env:"-" placeholder:"URL" help:"PostgreSQL to make databases on, which are dropped again; default: one in a temporary directory."`
}

func (c *benchScaleCmd) Run(ctx context.Context) error {
	if len(c.Events) == 0 || slices.Min(c.Events) < 10_000 || c.Contacts < 1000 || c.Days < 31 {
		return errors.New("--events must be at least 10000, --contacts 1000 and --days 31")
	}
	dir, err := os.MkdirTemp("", "presencelog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	scale := bench.Scale{
		Database: c.DatabaseURL, Dir: dir, Events: c.Events, Contacts: c.Contacts, Days: c.Days,
		Progress: func(what string) { fmt.Fprintln(os.Stderr, what) },
	}
	if scale.Database == "" {
		server, err := embedded.Open(ctx, dir, embedded.Options{})
		if err != nil {
			return err
		}
		defer server.Close()
		scale.Database = server.ConnString()
	}
	figures, err := scale.Run(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(figures)
	}
	return bench.WriteScale(os.Stdout, scale, figures, c.Markdown)
}

// benchServerCmd is how --compare starts a baseline as a process of its own.
type benchServerCmd struct {
	Kind        string `required:""`
	Listen      string `required:""`
	DatabaseURL string `env:"DATABASE_URL"`
	Token       string `env:"PRESENCELOG_WEBHOOK_TOKENS"`
}

func (c *benchServerCmd) Run(ctx context.Context) error {
	return bench.ServeBaseline(ctx, bench.Kind(c.Kind), c.Listen, c.DatabaseURL, c.Token)
}
