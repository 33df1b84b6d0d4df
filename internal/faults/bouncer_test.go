//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// newBouncer configures PgBouncer in transaction mode in front of a database. It returns its connection string, and a function
// that starts it.
func newBouncer(t testing.TB, p *place, d *database) (url string, launch func()) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program = "/usr/sbin/pgbouncer"; !exists(program) {
			t.Skip("there is no PgBouncer; Debian's package is pgbouncer")
		}
	}
	dir := filepath.Join(p.dir, "bouncer")
	must(t, makeForPostgres(dir))
	host := p.host()
	config := filepath.Join(dir, "pgbouncer.ini")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `[databases]
postgres = host=%[1]s port=%[3]d dbname=postgres user=postgres
[pgbouncer]
listen_addr = %[2]s
listen_port = %[3]d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 10
server_login_retry = 1
`, d.host, host, databasePort), 0o644))
	return urlAt(host), func() {
		cmd := command(true, program, config)
		out, err := os.Create(filepath.Join(p.dir, "bouncer.log"))
		must(t, err)
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		start(t, cmd)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("PgBouncer's log ends:\n%s", tail(out.Name()))
			}
		})
		pgtest.Eventually(t, "PgBouncer responds", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			conn, err := pgx.Connect(ctx, urlAt(host))
			return err == nil && conn.Close(ctx) == nil
		})
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	url, launch := newBouncer(t, p, d)
	launch()
	s := newService(t, p, url)
	l := startLoad(t, 32, s)
	for range rounds() {
		l.during(300)
		before := s.spooled()
		d.kill()
		pgtest.Eventually(t, "events go to the spool", func() bool { return s.spooled() > before })
		d.start()
	}
	l.during(300)
	l.count(bouncer, d)
}

// A service that starts while PgBouncer is away cannot tell yet what it will connect to.
func TestPgBouncerStartsLater(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	url, launch := newBouncer(t, p, d)
	s := newService(t, p, url)
	l := startLoad(t, 4, s)
	l.during(100)
	launch()
	pgtest.Eventually(t, "events are stored", func() bool { return s.stored() > 0 })
	l.during(100)
	l.count(bouncerAbsent, d)
}
