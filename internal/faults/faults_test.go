//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// order is the order of the table's rows.
var order = []string{
	serviceKilled, ownKilled, serviceStopped, oneKilled, sharedKilled, drainKilled,
	databaseKilled, databaseFrozen, databaseAbsent, readOnly, databaseFull, noConnections,
	cutAtRandom, cutCommits, delayed, cablePulled, bouncer, bouncerAbsent,
	spoolFull, spoolLimit, spoolDamaged,
	slowClients, overload, attack, mixed,
}

const (
	serviceKilled  = "service killed"
	ownKilled      = "service with an embedded PostgreSQL killed"
	serviceStopped = "service stopped and started"
	oneKilled      = "one of two services killed"
	sharedKilled   = "one of two services on one data directory killed"
	drainKilled    = "service killed while it drains its spool"
	databaseKilled = "PostgreSQL killed"
	databaseFrozen = "PostgreSQL frozen"
	databaseAbsent = "PostgreSQL unavailable when the service starts"
	readOnly       = "PostgreSQL read-only"
	databaseFull   = "PostgreSQL's disk full"
	noConnections  = "PostgreSQL out of connections"
	cutAtRandom    = "connections to PostgreSQL cut"
	cutCommits     = "connections cut between COMMIT and its response"
	delayed        = "responses of PostgreSQL late"
	cablePulled    = "network to PostgreSQL silent"
	bouncer        = "PgBouncer between, PostgreSQL killed"
	bouncerAbsent  = "PgBouncer unavailable when the service starts"
	spoolFull      = "spool's disk full"
	spoolLimit     = "spool at its limit"
	spoolDamaged   = "spool's files truncated and bits flipped"
	slowClients    = "1000 clients that send a byte a second"
	overload       = "more load than the queue holds"
	attack         = "junk, slow readers and heavy queries at once"
	mixed          = "all of these at random"
)

// spooledDuring waits until the service has spooled this many events since it started.
func spooledDuring(t testing.TB, s *service, events int) {
	t.Helper()
	pgtest.Eventually(t, fmt.Sprintf("%d events are in the spool", events), func() bool { return s.spooled() >= events })
}

func TestServiceKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	for range rounds() {
		l.during(1 + l.rng.Int64N(1000)) // so that there are connections that break
		failed := l.failed.Load()
		time.Sleep(time.Duration(l.rng.Int64N(int64(20 * time.Millisecond))))
		s.kill()
		pgtest.Eventually(t, "requests went unanswered", func() bool { return l.failed.Load() > failed })
		s.start()
	}
	l.during(200)
	l.count(serviceKilled, d)
}

func TestServiceKilledWithEmbeddedPostgreSQL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newService(t, p, "")
	d := &database{t: t, fixed: fmt.Sprintf("host=%s port=5432 user=postgres dbname=presencelog sslmode=disable",
		filepath.Join(s.dataDir, "postgres-socket"))}
	l := startLoad(t, 32, s)
	for range rounds() {
		l.during(1 + l.rng.Int64N(1000)) // so that there are connections that break
		failed := l.failed.Load()
		s.kill()
		pgtest.Eventually(t, "requests went unanswered", func() bool { return l.failed.Load() > failed })
		s.start()
	}
	l.during(200)
	l.count(ownKilled, d)
	s.stop()
}

func TestServiceStopped(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	for range 3 {
		l.during(300)
		s.stop()
		s.start()
	}
	// Stopped while PostgreSQL is away, it leaves its spool to the next process.
	d.stop()
	spooledDuring(t, s, s.spooled()+100) // besides those that a slow commit has sent there, which are drained by now
	s.stop()
	if len(s.segments()) == 0 {
		t.Error("there was nothing in the spool when the service stopped")
	}
	s.launch()
	d.start()
	l.during(300)
	l.count(serviceStopped, d)
}

func TestOneServiceKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	one, other := newService(t, p, d.url()), newService(t, p, d.url())
	l := startLoad(t, 32, one, other)
	for range rounds() {
		l.during(l.rng.Int64N(500))
		before := other.stored()
		one.kill()
		pgtest.Eventually(t, "the other one goes on", func() bool { return other.stored() > before })
		one.start()
	}
	// Once more with the database away, so that both spools are in it.
	d.kill()
	spooledDuring(t, one, 50)
	spooledDuring(t, other, 50)
	one.kill()
	d.start()
	l.during(100)
	one.start()
	l.count(oneKilled, d)
}

func TestOneServiceOnASharedDataDirectoryKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	one := newService(t, p, d.url())
	other := newServiceIn(t, p, one.dataDir, p.host(), d.url())
	l := startLoad(t, 32, one, other)
	l.during(200)
	d.kill()
	// Besides those that a slow commit has sent there, which are drained by now.
	spooledDuring(t, one, one.spooled()+50)
	spooledDuring(t, other, other.spooled()+50)
	one.kill()
	if n := len(one.segments()); n < 2 {
		t.Errorf("there are %d files in two spools", n)
	}
	d.start()
	// The other one drains the abandoned spool.
	pgtest.Eventually(t, "both spools are empty", func() bool { return len(one.segments()) == 0 })
	one.start()
	l.during(200)
	l.count(sharedKilled, d)
}

func TestServiceKilledWhileItDrains(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 32, s)
	l.during(100)
	x.refuse.Store(true)
	x.cutAll()
	spooledDuring(t, s, 6000)
	l.stop()
	x.delayCommit.Store(int64(time.Second)) // so that draining takes a while, also for a busy machine
	x.refuse.Store(false)
	all := int(l.sent.Load())
	interrupted := 0
	stored := func() int { return d.number("SELECT count(*) FROM events") }
	for range rounds() {
		before := stored()
		pgtest.Eventually(t, "the spool drains", func() bool { return stored() > before || before == all })
		s.kill()
		if n := stored(); n < all && len(s.segments()) > 0 {
			interrupted++
		}
		s.start()
	}
	if interrupted == 0 {
		t.Error("the service was never killed half way")
	}
	x.delayCommit.Store(0)
	l.count(drainKilled, d)
}

func TestPostgreSQLKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	for round := range rounds() {
		l.during(l.rng.Int64N(1000))
		before := s.spooled()
		switch round % 3 {
		case 0: // all of it
			d.kill()
		case 1: // the first process; its children then end by themselves
			_ = d.proc.cmd.Process.Kill()
			<-d.proc.done
		case 2: // a child; PostgreSQL then ends the others and recovers
			if pids := children(d.proc.pid()); len(pids) > 0 {
				_ = syscall.Kill(pids[l.rng.IntN(len(pids))], syscall.SIGKILL)
			}
			l.during(100)
			continue
		}
		l.during(l.rng.Int64N(300))
		pgtest.Eventually(t, "events go to the spool", func() bool { return s.spooled() > before })
		d.start()
	}
	l.during(300)
	l.count(databaseKilled, d)
	if l.failed.Load()+l.unavailable.Load() > 0 {
		t.Errorf("%d requests failed and %d got a 503, though there was a spool", l.failed.Load(), l.unavailable.Load())
	}
}

func TestPostgreSQLFrozen(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	l.during(1000) // until all contacts are cached, so that one message is a whole transaction
	for range 1 + rounds()/5 {
		spooled, acknowledged := s.spooled(), l.acknowledged.Load()
		d.freeze()
		spooledDuring(t, s, spooled+500)
		if code := s.get("/readyz"); code != 503 {
			t.Errorf("readyz responds with %d while PostgreSQL does not respond", code)
		}
		time.Sleep(l.moment())
		pgtest.Eventually(t, "500 events are acknowledged while PostgreSQL is frozen", func() bool { return l.acknowledged.Load() >= acknowledged+500 })
		d.thaw()
		pgtest.Eventually(t, "the service is healthy", s.healthy)
		l.during(300)
	}
	l.count(databaseFrozen, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
}

func TestPostgreSQLAwayAtTheStart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	d.stop()
	s := newService(t, p, d.url())
	l := startLoad(t, 8, s)
	spooledDuring(t, s, 500)
	// A container's health check uses this: a restart would not help. It is repeated, since it times out after a few seconds.
	pgtest.Eventually(t, "the service is healthy without a database", func() bool {
		return command(false, shared.program, "healthcheck", "--listen", s.address()).Run() == nil
	})
	s.kill()
	s.start()
	spooledDuring(t, s, 500)
	s.kill()
	d.start()
	d.freeze() // it accepts connections and does not respond
	s.start()
	spooledDuring(t, s, 500)
	d.thaw()
	l.during(300)
	l.count(databaseAbsent, d)
}

func TestPostgreSQLReadOnly(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 16, s)
	l.during(200)
	d.exec("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	spooledDuring(t, s, 500)
	d.exec("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
	l.during(200)
	l.count(readOnly, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
}

func TestPostgreSQLDiskFull(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	disk := filepath.Join(p.dir, "disk")
	smallDisk(t, disk, 128<<20)
	d := newDatabaseIn(t, p, disk)
	s := newService(t, p, d.url())
	l := startLoad(t, 16, s)
	l.during(200)
	free := fillDisk(t, disk)
	spooledDuring(t, s, 500)
	l.during(1000)
	free()
	d.start() // it may have ended because the disk was full
	l.during(200)
	l.count(databaseFull, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
}

func TestPostgreSQLOutOfConnections(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p, "max_connections=16")
	s := newService(t, p, d.url())
	l := startLoad(t, 16, s)
	l.during(200)
	first, err := d.connect()
	must(t, err)
	taken := []*pgx.Conn{first}
	before := s.spooled()
	pgtest.Eventually(t, "500 events are in the spool", func() bool {
		// Open connections until none are left, and terminate the service's again and again, since it may get one that
		// becomes free first.
		for {
			conn, err := d.connect()
			if err != nil {
				break
			}
			taken = append(taken, conn)
		}
		_, err := first.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name LIKE 'presencelog%'`)
		must(t, err)
		return s.spooled() >= before+500
	})
	for _, conn := range taken {
		conn.Close(context.Background())
	}
	l.during(200)
	l.count(noConnections, d)
}

func contains(s *service, words string) bool {
	log, err := os.ReadFile(s.log())
	must(s.t, err)
	return strings.Contains(string(log), words)
}
