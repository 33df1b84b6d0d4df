package bench

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/presence"
)

// Kind is a server under test.
type Kind string

const (
	DecodeOnly Kind = "decode-only" // responds without storing: the limit of net/http and the decoder
	Naive      Kind = "naive"       // one INSERT for each request, through a pool
	Service    Kind = "presencelog"
	Cold       Kind = "presencelog-cold"       // the same right after a restart, with an empty contact id cache
	New        Kind = "presencelog-new"        // the same with a new contact in each request
	Filled     Kind = "presencelog-filled"     // the same on a table that holds earlier events, with no refresh of intervals
	Refreshing Kind = "presencelog-refreshing" // the same as that, with the refresh
)

const (
	warmUp   = time.Second            // before each run
	settling = 500 * time.Millisecond // after longer runs, so that PostgreSQL finishes its work before the next one
	token    = "bench-token"          // receivers check it

	drainTimeout = 30 * time.Second // for acknowledged events to reach the database
)

// Comparison measures servers in turn, on one machine with one PostgreSQL.
type Comparison struct {
	Connections []int
	Duration    time.Duration // of each run
	Runs        int           // of each server with each number of connections
	Prefill     int64         // events in the tables of Filled and Refreshing; 0 leaves them out
	Bodies      [][]byte
	Database    string // connection string of a PostgreSQL where databases can be created

	// Command returns the command of a server: one with ServeBaseline, or the service. It must listen on listen, require the
	// token, use the database and end on an interrupt.
	Command func(kind Kind, listen, database, token string) *exec.Cmd

	Progress func(string)
}

// base returns the kind that k is also compared with; "" for none.
func (k Kind) base() Kind {
	switch k {
	case Cold, New, Filled:
		return Service
	case Refreshing:
		return Filled
	}
	return ""
}

// contender is a running server under test.
type contender struct {
	kind    Kind
	process *process
	load    Load
	conn    string // of its database; "" if it has none

	prefilled, acknowledged, failed int64
	runs                            []serverRun
}

// serverRun is one run of one server.
type serverRun struct {
	Result
	walBytes   int64 // written by PostgreSQL during the run
	peakMemory int64 // of the server since its start, in bytes; 0 if unknown
}

// Compare runs the comparison. It drops all databases that it creates.
func (c Comparison) Compare(ctx context.Context) (report Report, err error) {
	server, err := openServer(ctx, c.Database)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	if err := server.inspectWAL(ctx); err != nil {
		return report, err
	}
	kinds := []Kind{DecodeOnly, Naive, Service, Cold, New}
	if c.Prefill > 0 {
		kinds = append(kinds, Filled, Refreshing)
	}
	var contenders []*contender
	for _, kind := range kinds {
		contender, err := c.newContender(ctx, server, kind)
		defer contender.stop()
		if err != nil {
			return report, fmt.Errorf("start %s: %w", kind, err)
		}
		contenders = append(contenders, contender)
	}
	if err := server.checkpoint(ctx); err != nil {
		return report, err
	}
	// After a checkpoint, the first change of each page writes a full page image to the WAL. This ends when all contacts have
	// events.
	for _, contender := range contenders {
		if err := contender.sendAll(ctx); err != nil {
			return report, err
		}
	}
	for _, connections := range c.Connections {
		for run := range c.Runs {
			for _, contender := range contenders {
				c.Progress(fmt.Sprintf("%d connections, run %d of %d: %s", connections, run+1, c.Runs, contender.kind))
				measure := func() error { return contender.measure(ctx, server, connections, c.Duration) }
				if contender.kind == Cold {
					if err := c.start(ctx, contender); err != nil {
						return report, fmt.Errorf("restart %s: %w", contender.kind, err)
					}
				}
				if contender.kind == Filled {
					run := measure
					measure = func() error { return contender.withoutRefresh(ctx, run) }
				}
				if err := measure(); err != nil {
					return report, fmt.Errorf("%s: %w", contender.kind, err)
				}
			}
		}
	}
	return c.report(ctx, server, contenders)
}

// newContender starts a server and sends it an event for each contact.
func (c Comparison) newContender(ctx context.Context, server *server, kind Kind) (n *contender, err error) {
	c.Progress(fmt.Sprintf("starting %s", kind))
	n = &contender{kind: kind}
	if kind != DecodeOnly {
		if n.conn, err = server.create(ctx, strings.TrimPrefix(string(kind), "presencelog-")); err != nil {
			return n, err
		}
	}
	if err := c.start(ctx, n); err != nil {
		return n, err
	}
	if err := n.sendAll(ctx); err != nil {
		return n, err
	}
	if kind == Filled || kind == Refreshing {
		n.prefilled = c.Prefill
		return n, prefill(ctx, n.conn, c.Prefill, c.Progress)
	}
	return n, nil
}

// start stops the contender's current server and starts a new one.
func (c Comparison) start(ctx context.Context, n *contender) error {
	n.stop()
	var result Result
	var err error
	n.process, n.load, result, err = startProcess(ctx, func(listen string) *exec.Cmd {
		return c.Command(n.kind, listen, n.conn, token)
	}, c.Bodies)
	n.count(result)
	return err
}

func (n *contender) stop() {
	if n.process != nil {
		n.process.stop()
	}
}

func (n *contender) sendAll(ctx context.Context) error {
	result, err := n.load.once(ctx)
	n.count(result)
	return err
}

func (n *contender) measure(ctx context.Context, server *server, connections int, duration time.Duration) error {
	load := n.load
	load.Connections, load.Duration = connections, min(warmUp, duration)
	load.NewContacts = n.kind == New
	if n.kind != Cold {
		result, err := load.Run(ctx)
		n.count(result)
		if err != nil {
			return err
		}
	}
	before, err := server.walPosition(ctx)
	if err != nil {
		return err
	}
	load.Duration = duration
	result, err := load.Run(ctx)
	n.count(result)
	if err != nil {
		return err
	}
	memory := n.process.peakMemory()
	written, err := server.walSince(ctx, before)
	if err != nil {
		return err
	}
	n.runs = append(n.runs, serverRun{result, written, memory})
	return presence.Sleep(ctx, min(settling, duration))
}

// withoutRefresh prevents refreshes of intervals during a run by holding the row that they lock.
func (n *contender) withoutRefresh(ctx context.Context, run func() error) error {
	db, err := pgx.Connect(ctx, n.conn)
	if err != nil {
		return err
	}
	defer db.Close(context.Background())
	return pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT FROM interval_progress FOR UPDATE"); err != nil {
			return err
		}
		return run()
	})
}

func (n *contender) count(r Result) {
	n.acknowledged += r.Acknowledged
	n.failed += r.Failed()
}

// stored counts the events in the server's database. It waits until the spool is drained.
func (n *contender) stored(ctx context.Context) (int64, error) {
	db, err := pgx.Connect(ctx, n.conn)
	if err != nil {
		return 0, err
	}
	defer db.Close(context.Background())
	table := "events"
	if n.kind == Naive {
		table = "naive_events"
	}
	for deadline := time.Now().Add(drainTimeout); ; time.Sleep(time.Second) {
		var count int64
		err = db.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&count)
		count -= n.prefilled
		if err != nil || count >= n.acknowledged || time.Now().After(deadline) {
			return count, err
		}
	}
}
