//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// database is a PostgreSQL server of one test.
type database struct {
	t        testing.TB
	dir      string
	host     string
	settings []string
	proc     *process
	fixed    string // the connection string of an embedded one
}

// newDatabase starts a new PostgreSQL.
func newDatabase(t testing.TB, p *place, settings ...string) *database {
	t.Helper()
	return newDatabaseIn(t, p, filepath.Join(p.dir, "database"), settings...)
}

func newDatabaseIn(t testing.TB, p *place, dir string, settings ...string) *database {
	t.Helper()
	d := &database{t: t, dir: filepath.Join(dir, "cluster"), host: p.host(), settings: settings}
	must(t, makeForPostgres(dir))
	if out, err := exec.Command("cp", "-a", shared.template, d.dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the cluster: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("PostgreSQL's log ends:\n%s", tail(d.log()))
		}
	})
	d.start()
	return d
}

func (d *database) log() string { return filepath.Join(d.dir, "log.txt") }

// start starts PostgreSQL and waits until it accepts connections.
func (d *database) start() {
	d.t.Helper()
	pgtest.Eventually(d.t, "PostgreSQL runs", func() bool {
		if d.proc == nil || !d.proc.running() {
			d.launch()
		}
		conn, err := d.connect()
		if err != nil {
			return false
		}
		return conn.Close(context.Background()) == nil
	})
}

// launch starts PostgreSQL without waiting for it. It may end at once if processes of a killed one still run.
func (d *database) launch() {
	d.t.Helper()
	args := []string{
		"-D", d.dir, "-c", "listen_addresses=" + d.host, "-c", fmt.Sprintf("port=%d", databasePort), "-c", "unix_socket_directories=",
		"-c", "shared_buffers=16MB", "-c", "min_wal_size=2MB", "-c", "max_wal_size=64MB", "-c", "superuser_reserved_connections=0",
		"-c", "log_line_prefix=%m [%p] %a ",
	}
	for _, s := range d.settings {
		args = append(args, "-c", s)
	}
	cmd := command(true, filepath.Join(shared.bin, "postgres"), args...)
	out, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	must(d.t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	proc := start(d.t, cmd)
	d.proc = proc
	d.t.Cleanup(func() { proc.quit() })
}

func (d *database) url() string {
	if d.fixed != "" {
		return d.fixed
	}
	return urlAt(d.host)
}

func urlAt(host string) string {
	return fmt.Sprintf("postgres://postgres@%s:%d/postgres?sslmode=disable", host, databasePort)
}

func (d *database) connect() (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	return pgx.Connect(ctx, d.url())
}

// exec runs statements, each in its own transaction.
func (d *database) exec(statements ...string) {
	d.t.Helper()
	conn, err := d.connect()
	must(d.t, err)
	defer conn.Close(context.Background())
	for _, sql := range statements {
		_, err := conn.Exec(context.Background(), sql)
		must(d.t, err)
	}
}

// number runs a query that returns one number.
func (d *database) number(sql string) (n int) {
	d.t.Helper()
	conn, err := d.connect()
	must(d.t, err)
	defer conn.Close(context.Background())
	must(d.t, conn.QueryRow(context.Background(), sql).Scan(&n))
	return n
}

// stop shuts PostgreSQL down without waiting for its clients.
func (d *database) stop() {
	d.t.Helper()
	d.proc.end(d.t, syscall.SIGINT)
}

// kill kills all processes of PostgreSQL.
func (d *database) kill() { d.proc.kill() }

// freeze suspends all processes of PostgreSQL: connections stay open, and nothing responds.
func (d *database) freeze() { d.proc.signalAll(syscall.SIGSTOP) }

func (d *database) thaw() { d.proc.signalAll(syscall.SIGCONT) }
