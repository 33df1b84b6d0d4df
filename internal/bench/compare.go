package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kind is a server under test.
type Kind string

const (
	DecodeOnly Kind = "decode-only" // answers without storing: the limit of what net/http and the decoder can do
	Naive      Kind = "naive"       // one INSERT for each request, through a pool
	Service    Kind = "presencelog"
	Filled     Kind = "presencelog-filled"  // the same on a table that holds the events of a past
	Rolling    Kind = "presencelog-rolling" // the same as that, while it makes the rollups of its past
)

const (
	warmUp   = time.Second            // before each run
	settling = 500 * time.Millisecond // after a run that is longer: what PostgreSQL still does is not for the next one
	token    = "bench-token"          // checking it is part of the work

	rollingBound = time.Minute      // until the service looks for rollups to make
	drainBound   = 30 * time.Second // for what a server has acknowledged before it was in the database
)

// Comparison measures servers against each other: on one machine, with one PostgreSQL, run by run in turn.
type Comparison struct {
	Connections []int
	Duration    time.Duration // of each run
	Runs        int           // of each server with each number of connections
	Prefill     int64         // events in the tables of Filled and Rolling; 0 leaves them out
	Bodies      [][]byte
	Database    string // connection string of a PostgreSQL on which databases may be made

	// Command makes the command of a server: one with ServeBaseline, or the service. It is to listen there, to ask for
	// the token, to use that database and to end when it is interrupted.
	Command func(kind Kind, listen, database, token string) *exec.Cmd

	Progress func(string)
}

// contender is a server under test that runs.
type contender struct {
	kind    Kind
	process *process
	load    Load
	conn    string // of its database; "" if it has none

	prefilled, acknowledged, failed int64
	runs                            []Run
}

// Run is one run of one server.
type Run struct {
	Server Kind `json:"server"`
	Result
	WALBytes      int64   `json:"walBytes"`      // written by PostgreSQL meanwhile
	WALPageImages int64   `json:"walPageImages"` // bytes of it that are images of whole pages; -1 if PostgreSQL cannot tell
	CPUSeconds    float64 `json:"cpuSeconds"`    // of the server's process, without PostgreSQL's; 0 if that is not known
	PeakMemory    int64   `json:"peakMemory"`    // bytes resident in the server since its start; 0 if that is not known
}

// Compare makes the comparison. It leaves nothing behind on the database.
func (c Comparison) Compare(ctx context.Context) (report Report, err error) {
	server, err := openServer(ctx, c.Database)
	if err != nil {
		return report, err
	}
	defer func() {
		if closeErr := server.close(); err == nil {
			err = closeErr
		}
	}()
	if err := server.inspectWAL(ctx); err != nil {
		return report, err
	}
	kinds := []Kind{DecodeOnly, Naive, Service}
	if c.Prefill > 0 {
		kinds = append(kinds, Filled, Rolling)
	}
	var contenders []*contender
	for _, kind := range kinds {
		contender, err := c.start(ctx, server, kind)
		if contender != nil {
			defer contender.process.stop()
		}
		if err != nil {
			return report, fmt.Errorf("start %s: %w", kind, err)
		}
		contenders = append(contenders, contender)
	}
	if err := server.checkpoint(ctx); err != nil {
		return report, err
	}
	// After a checkpoint a page's first change writes the whole page ahead. That is over once all contacts were heard of.
	for _, contender := range contenders {
		if err := contender.hearAll(ctx); err != nil {
			return report, err
		}
	}
	for _, connections := range c.Connections {
		for run := range c.Runs {
			for _, contender := range contenders {
				c.Progress(fmt.Sprintf("%d connections, run %d of %d: %s", connections, run+1, c.Runs, contender.kind))
				measure := func() error { return contender.measure(ctx, server, connections, c.Duration) }
				if contender.kind == Rolling {
					run := measure
					measure = func() error { return contender.whileRolling(ctx, run) }
				}
				if err := measure(); err != nil {
					return report, fmt.Errorf("%s: %w", contender.kind, err)
				}
			}
		}
	}
	return c.report(ctx, server, contenders)
}

// start starts a server and makes it acquainted with the contacts.
func (c Comparison) start(ctx context.Context, server *server, kind Kind) (*contender, error) {
	c.Progress(fmt.Sprintf("starting %s", kind))
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	target := url.URL{Scheme: "http", Host: listen, Path: "/webhooks/zapi"}
	n := &contender{kind: kind, load: Load{URL: target.String(), Token: token, Bodies: c.Bodies}}
	if kind != DecodeOnly {
		purpose := map[Kind]string{Naive: "naive", Service: "service", Filled: "filled", Rolling: "rolling"}[kind]
		if n.conn, err = server.create(ctx, purpose); err != nil {
			return nil, err
		}
	}
	if n.process, err = startProcess(c.Command(kind, listen, n.conn, token)); err != nil {
		return nil, err
	}
	result, err := n.process.answering(ctx, n.load)
	n.count(result)
	if err != nil {
		return n, err
	}
	if err := n.hearAll(ctx); err != nil {
		return n, err
	}
	if kind == Filled || kind == Rolling {
		n.prefilled = c.Prefill
		return n, prefill(ctx, n.conn, c.Prefill, c.Progress)
	}
	return n, nil
}

// hearAll sends every body once.
func (n *contender) hearAll(ctx context.Context) error {
	load := n.load
	load.Connections, load.Requests, load.Duration = 64, int64(len(load.Bodies)), time.Hour
	result, err := load.Run(ctx)
	n.count(result)
	return err
}

func (n *contender) measure(ctx context.Context, server *server, connections int, duration time.Duration) error {
	load := n.load
	load.Connections, load.Duration = connections, min(warmUp, duration)
	result, err := load.Run(ctx)
	n.count(result)
	if err != nil {
		return err
	}
	before, err := server.walPosition(ctx)
	if err != nil {
		return err
	}
	load.Duration = duration
	cpu := n.process.cpuTime()
	result, err = load.Run(ctx)
	cpu = n.process.cpuTime() - cpu
	n.count(result)
	if err != nil {
		return err
	}
	after, err := server.walPosition(ctx)
	if err != nil {
		return err
	}
	memory := n.process.peakMemory()
	written, err := server.walBetween(ctx, before, after)
	if err != nil {
		return err
	}
	n.runs = append(n.runs, Run{n.kind, result, written.total, written.images, cpu.Seconds(), memory})
	select {
	case <-time.After(min(settling, duration)):
	case <-ctx.Done():
	}
	return ctx.Err()
}

// whileRolling makes the service's rollups stale, waits until it makes them anew, and takes what is left of that work from it
// when the run is over.
func (n *contender) whileRolling(ctx context.Context, run func() error) error {
	db, err := pgx.Connect(ctx, n.conn)
	if err != nil {
		return err
	}
	defer db.Close(context.Background())
	const stale = "SELECT coalesce(sum(until_slot - from_slot), '0') FROM rollup_stale"
	var all time.Duration
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT mark_all_stale(NULL)"); err != nil {
			return err
		}
		return tx.QueryRow(ctx, stale).Scan(&all)
	})
	if err != nil {
		return err
	}
	patience := time.Now().Add(rollingBound)
	for left := all; left == all; time.Sleep(10 * time.Millisecond) {
		if err := db.QueryRow(ctx, stale).Scan(&left); err != nil {
			return err
		}
		if time.Now().After(patience) {
			return fmt.Errorf("the service has not begun to make its rollups within %s", rollingBound)
		}
	}
	err = run()
	_, stopErr := db.Exec(ctx, "DELETE FROM rollup_stale")
	return errors.Join(err, stopErr)
}

func (n *contender) count(r Result) {
	n.acknowledged += r.Acknowledged
	n.failed += r.Failed()
}

// stored counts the events in the server's database that requests have brought there. Should some still lie in a spool,
// it waits for them.
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
	for patience := time.Now().Add(drainBound); ; time.Sleep(time.Second) {
		var count int64
		err = db.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&count)
		count -= n.prefilled
		if err != nil || count >= n.acknowledged || time.Now().After(patience) {
			return count, err
		}
	}
}
