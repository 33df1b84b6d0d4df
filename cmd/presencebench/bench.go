package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/presencelog/presencelog/internal/bench"
	"github.com/presencelog/presencelog/internal/postgres/embedded"
	"github.com/presencelog/presencelog/internal/terminal"
)

type loadCmd struct {
	URL     string `xor:"what" placeholder:"URL" help:"Send to this receiver: …/webhooks/zapi."`
	Compare bool   `xor:"what" help:"Measure presencelog against a handler that stores nothing and a naive service, in turn."`

	Connections []int         `placeholder:"N" help:"Numbers of connections, one measurement each; default: 64, with --compare 64,256."`
	Duration    time.Duration `default:"10s" help:"Duration of each measurement."`
	Contacts    int           `default:"10000" help:"Number of contacts."`
	JSON        bool          `help:"Write JSON."`

	Token string  `placeholder:"TOKEN" help:"With --url: the webhook token."`
	Rate  float64 `placeholder:"N" help:"With --url: requests per second, sent on schedule even if earlier ones have no response yet; default: as fast as each connection can."`

	Runs    int   `default:"5" help:"With --compare: number of runs; results are their medians."`
	Prefill int64 `placeholder:"N" help:"With --compare: also measure on a table of this many events, and while their intervals are computed."`
}

func (c *loadCmd) Run(ctx context.Context) error {
	if c.URL == "" && !c.Compare {
		return errors.New("pass --url to send load to a receiver, or --compare")
	}
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
			Progress: c.progress(),
		}.Run(ctx)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	if c.JSON {
		return terminal.PrintJSON(results)
	}
	bench.WriteResults(os.Stdout, results)
	return nil
}

// progress returns a function that prints the rate of the last minute, and how far the stored intervals are behind if the
// receiver has metrics.
func (c *loadCmd) progress() func(int64) {
	var before int64
	return func(requests int64) {
		line := fmt.Sprintf("%.0f events/s", float64(requests-before)/60)
		if age, err := c.unstoredAge(); err == nil {
			line += fmt.Sprintf(", intervals %.0f s behind", age)
		}
		fmt.Fprintln(os.Stderr, line)
		before = requests
	}
}

func (c *loadCmd) unstoredAge() (seconds float64, err error) {
	at, err := url.Parse(c.URL)
	if err != nil {
		return 0, err
	}
	res, err := http.Get(at.ResolveReference(&url.URL{Path: "/metrics"}).String())
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(metrics), "\npresencelog_intervals_unstored_age_seconds ")
	_, err = fmt.Sscan(after, &seconds)
	return seconds, err
}

func (c *loadCmd) compare(ctx context.Context, bodies [][]byte) error {
	if len(c.Connections) == 0 {
		c.Connections = []int{64, 256}
	}
	self, service, err := findPrograms()
	if err != nil {
		return err
	}
	return withDatabase(ctx, func(dir, database string) error {
		report, err := bench.Comparison{
			Connections: c.Connections, Duration: c.Duration, Runs: c.Runs, Prefill: c.Prefill, Bodies: bodies, Database: database,
			Command: func(kind bench.Kind, listen, database, token string) *exec.Cmd {
				program, args := self, []string{"server", "--kind", string(kind)}
				if kind != bench.DecodeOnly && kind != bench.Naive {
					program, args = service, serveArgs(filepath.Join(dir, string(kind)))
				}
				return serverCommand(program, args, listen, database, token)
			},
			Progress: progress,
		}.Compare(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return terminal.PrintJSON(report)
		}
		bench.WriteReport(os.Stdout, report)
		return nil
	})
}

// serveArgs are the arguments of presencelog to be measured.
func serveArgs(dataDir string) []string {
	return []string{"serve", "--data-dir", dataDir, "--max-new-contacts-per-hour=0"}
}

func serverCommand(program string, args []string, listen, database, token string) *exec.Cmd {
	cmd := exec.Command(program, append(args, "--listen", listen)...)
	// Secrets are not arguments, which everybody on the machine can read.
	cmd.Env = append(os.Environ(), "DATABASE_URL="+database, "PRESENCELOG_WEBHOOK_TOKENS="+token, "PRESENCELOG_WEBHOOK_RATE_LIMIT=0")
	return cmd
}

// withDatabase calls do with a temporary directory and an embedded PostgreSQL in it. It never uses DATABASE_URL, so that no
// benchmark runs on the history by accident.
func withDatabase(ctx context.Context, do func(dir, database string) error) error {
	dir, err := os.MkdirTemp("", "presencelog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := embedded.Open(ctx, dir, embedded.Options{
		Settings: map[string]string{"max_connections": "200"}, // for the pools of all servers
	})
	if err != nil {
		return err
	}
	defer server.Close()
	return do(dir, server.ConnString())
}

// findPrograms returns this program and presencelog, which is in the same directory.
func findPrograms() (self, service string, err error) {
	if self, err = os.Executable(); err != nil {
		return "", "", err
	}
	dir := filepath.Dir(self)
	if service, err = exec.LookPath(filepath.Join(dir, "presencelog")); err != nil {
		return "", "", errors.New("found no program presencelog in " + dir + ": build both with go build -o . ./cmd/...")
	}
	return self, service, nil
}

func progress(what string) { fmt.Fprintln(os.Stderr, what) }

type liveCmd struct {
	Duration time.Duration `default:"10s" help:"Duration of each run."`
}

func (c *liveCmd) Run(ctx context.Context) error {
	const readers, waits, contacts = 1000, 200, 100_000
	if c.Duration <= 0 {
		return errors.New("--duration must be above 0")
	}
	bodies, err := bench.Bodies(contacts)
	if err != nil {
		return err
	}
	_, service, err := findPrograms()
	if err != nil {
		return err
	}
	return withDatabase(ctx, func(dir, database string) error {
		var results []bench.LiveResult
		for processes := 1; processes <= 2; processes++ {
			result, err := bench.Live{
				Processes: processes, Readers: readers, Waits: waits, Connections: 64, Duration: c.Duration, Runs: 3,
				Bodies: bodies, Database: database, Progress: progress,
				Command: func(n int, listen, database, token string) *exec.Cmd {
					args := append(serveArgs(filepath.Join(dir, fmt.Sprint(processes, "-", n))), fmt.Sprint("--streams=", readers+waits), "--api-rate-limit=0")
					return serverCommand(service, args, listen, database, token)
				},
			}.Run(ctx)
			if err != nil {
				return err
			}
			results = append(results, result)
		}
		bench.WriteLive(os.Stdout, results)
		return nil
	})
}

type scaleCmd struct {
	Events []int64 `default:"1000000,20000000" placeholder:"N" help:"Sizes of history to measure, in events; 20 million events take a quarter of an hour and 8 GB of disk."`
}

func (c *scaleCmd) Run(ctx context.Context) error {
	if len(c.Events) == 0 || slices.Min(c.Events) < 10_000 {
		return errors.New("--events must be at least 10000")
	}
	return withDatabase(ctx, func(dir, database string) error {
		scale := bench.Scale{Database: database, Dir: dir, Events: c.Events, Contacts: 100_000, Days: 90, Progress: progress}
		figures, err := scale.Run(ctx)
		if err != nil {
			return err
		}
		bench.WriteScale(os.Stdout, scale, figures)
		return nil
	})
}

// serverCmd is the process of a baseline of --compare.
type serverCmd struct {
	Kind        string `required:""`
	Listen      string `required:""`
	DatabaseURL string `env:"DATABASE_URL"`
	Token       string `env:"PRESENCELOG_WEBHOOK_TOKENS"`
}

func (c *serverCmd) Run(ctx context.Context) error {
	return bench.ServeBaseline(ctx, bench.Kind(c.Kind), c.Listen, c.DatabaseURL, c.Token)
}
