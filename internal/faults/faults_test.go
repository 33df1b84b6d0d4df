//go:build linux

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// order is that of the table's lines.
var order = []string{
	serviceKilled, ownKilled, serviceStopped, oneKilled, sharedKilled, drainKilled,
	databaseKilled, databaseFrozen, databaseAbsent, readOnly, databaseFull, noConnections,
	cutAtRandom, cutCommits, delayed, cablePulled, bouncer,
	spoolFull, spoolBound, spoolDamaged,
	slowClients, overload, mixed,
}

const (
	serviceKilled  = "service killed"
	ownKilled      = "service killed that runs its own PostgreSQL"
	serviceStopped = "service stopped and started"
	oneKilled      = "one of two services killed"
	sharedKilled   = "one of two services on one data directory killed"
	drainKilled    = "service killed while it drains its spool"
	databaseKilled = "PostgreSQL killed"
	databaseFrozen = "PostgreSQL frozen"
	databaseAbsent = "PostgreSQL away when the service starts"
	readOnly       = "PostgreSQL read-only"
	databaseFull   = "PostgreSQL's disk full"
	noConnections  = "PostgreSQL out of connections"
	cutAtRandom    = "connections to PostgreSQL cut"
	cutCommits     = "connections cut between COMMIT and its answer"
	delayed        = "answers of PostgreSQL late"
	cablePulled    = "network to PostgreSQL silent"
	bouncer        = "PgBouncer between, PostgreSQL killed"
	spoolFull      = "spool's disk full"
	spoolBound     = "spool at its bound"
	spoolDamaged   = "spool's files truncated and bits flipped"
	slowClients    = "1000 clients that send a byte a second"
	overload       = "more load than the queue holds"
	mixed          = "all of these at random"
)

// aMoment is how long a fault lasts that needs no certain time.
func aMoment() time.Duration { return 200*time.Millisecond + rand.N(500*time.Millisecond) }

// spooledDuring waits until the service has put so many events into its spool since it started.
func spooledDuring(t testing.TB, s *service, events int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d events are in the spool", events), func() bool { return s.spooled() >= events })
}

func TestServiceKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	for range rounds() {
		l.during(rand.Int64N(1000))
		failed := l.failed.Load()
		time.Sleep(rand.N(20 * time.Millisecond))
		s.kill()
		eventually(t, "requests went unanswered", func() bool { return l.failed.Load() > failed })
		s.start()
	}
	l.during(200)
	l.count(serviceKilled, d)
}

func TestServiceKilledWithItsOwnPostgreSQL(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	s := newService(t, p, "")
	d := &database{t: t, fixed: fmt.Sprintf("host=%s port=5432 user=postgres dbname=presencelog sslmode=disable",
		filepath.Join(s.dataDir, "postgres-socket"))}
	l := startLoad(t, 32, s)
	for range rounds() {
		l.during(rand.Int64N(1000))
		failed := l.failed.Load()
		s.kill()
		eventually(t, "requests went unanswered", func() bool { return l.failed.Load() > failed })
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
	// Stopped while PostgreSQL is away, it leaves its spool to the next one.
	d.stop()
	spooledDuring(t, s, 100)
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
		l.during(rand.Int64N(500))
		before := other.stored()
		one.kill()
		eventually(t, "the other one goes on", func() bool { return other.stored() > before })
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
	spooledDuring(t, one, 50)
	spooledDuring(t, other, 50)
	one.kill()
	if n := len(one.segments()); n < 2 {
		t.Errorf("there are %d files in two spools", n)
	}
	d.start()
	// The other one finds the spool that nobody has any more.
	eventually(t, "both spools are empty", func() bool { return len(one.segments()) == 0 })
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
	x.delay.Store(int64(100 * time.Millisecond)) // so that draining takes a while
	x.refuse.Store(false)
	all := int(l.sent.Load())
	interrupted := 0
	stored := func() int { return d.number("SELECT count(*) FROM events") }
	for range rounds() {
		before := stored()
		eventually(t, "the spool drains", func() bool { return stored() > before || before == all })
		s.kill()
		if n := stored(); n < all && len(s.segments()) > 0 {
			interrupted++
		}
		s.start()
	}
	if interrupted == 0 {
		t.Error("the service was never killed half way")
	}
	x.delay.Store(0)
	l.count(drainKilled, d)
}

func TestPostgreSQLKilled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	for round := range rounds() {
		l.during(rand.Int64N(1000))
		before := s.spooled()
		switch round % 3 {
		case 0: // all of it
			d.kill()
		case 1: // its first process, whose children then end by themselves
			_ = d.proc.cmd.Process.Kill()
			<-d.proc.done
		case 2: // a child, whereupon it ends all others and recovers
			if pids := children(d.proc.pid()); len(pids) > 0 {
				_ = syscall.Kill(pids[rand.IntN(len(pids))], syscall.SIGKILL)
			}
			l.during(100)
			continue
		}
		l.during(rand.Int64N(300))
		eventually(t, "events go to the spool", func() bool { return s.spooled() > before })
		d.start()
	}
	l.during(300)
	l.count(databaseKilled, d)
	if l.failed.Load()+l.unavailable.Load() > 0 {
		t.Errorf("%d requests failed, %d were answered with 503, though there was the spool", l.failed.Load(), l.unavailable.Load())
	}
}

func TestPostgreSQLFrozen(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	l := startLoad(t, 32, s)
	l.during(1000) // until all contacts are known, so that one message is a whole transaction
	for range 1 + rounds()/5 {
		spooled, acknowledged := s.spooled(), l.acknowledged.Load()
		d.freeze()
		spooledDuring(t, s, spooled+500)
		if code := s.get("/readyz"); code != 503 {
			t.Errorf("readyz says %d while PostgreSQL does not answer", code)
		}
		time.Sleep(aMoment())
		d.thaw()
		if n := l.acknowledged.Load() - acknowledged; n < 500 {
			t.Errorf("only %d events were acknowledged while PostgreSQL was frozen", n)
		}
		eventually(t, "the service is well", s.well)
		l.during(300)
	}
	l.count(databaseFrozen, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
	if l.slowest > 10*time.Second { // it is the bound of 2 s and a little, but for a machine that is busy with other things
		t.Errorf("a request waited for %s", l.slowest)
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
	s.kill()
	s.start()
	spooledDuring(t, s, 500)
	s.kill()
	d.start()
	d.freeze() // it takes connections and says nothing
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
	t.Cleanup(d.kill) // before its disk goes
	s := newService(t, p, d.url())
	l := startLoad(t, 16, s)
	l.during(200)
	free := fillDisk(t, disk)
	spooledDuring(t, s, 500)
	l.during(1000)
	free()
	d.start() // it may have ended for want of space
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
	eventually(t, "500 events are in the spool", func() bool {
		// Connections are taken until there are none left, and the service's are taken from it, again and again, since it
		// may be quicker to take one that comes free.
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

func TestConnectionsCut(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 32, s)
	for range 10 * rounds() {
		l.during(rand.Int64N(100))
		x.cutAll()
	}
	for range rounds() {
		l.during(rand.Int64N(100))
		before := s.spooled()
		x.refuse.Store(true)
		x.cutAll()
		eventually(t, "events go to the spool", func() bool { return s.spooled() > before })
		x.refuse.Store(false)
	}
	l.during(200)
	l.count(cutAtRandom, d)
}

func TestCommitsCutFromTheirAnswers(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 32, s)
	l.during(200)
	// First every second or third one, which the second try makes good; then all of them, so that events are committed
	// and in the spool.
	for _, every := range []int64{3, 2, 1} {
		before := x.cut.Load()
		x.cutCommits.Store(every)
		eventually(t, "commits have lost their answers", func() bool { return x.cut.Load() >= before+int64(4*rounds()) })
	}
	spooledDuring(t, s, 100)
	x.cutCommits.Store(0)
	l.during(200)
	l.count(cutCommits, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
}

func TestAnswersLate(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := (&load{pace: 10 * time.Millisecond, known: true}).start(t, 16, s)
	// The drain, too, is to know all contacts, so that one message is a whole transaction.
	l.during(500)
	x.refuse.Store(true)
	x.cutAll()
	spooledDuring(t, s, 500)
	x.refuse.Store(false)
	eventually(t, "the service is well", s.well)
	// About as late as the bound: some batches are committed in time, others are given up and committed all the same.
	delays := []time.Duration{1990}
	if long {
		delays = []time.Duration{100, 300, 600, 900, 1950, 1980, 1990, 2000, 2010, 2050, 2500, 4000}
	}
	spooled, commits := s.spooled(), x.commits.Load()
	for _, delay := range delays {
		x.delay.Store(int64(delay * time.Millisecond))
		time.Sleep(5 * time.Second) // for a few of them
	}
	eventually(t, "batches are committed late", func() bool { return x.commits.Load() > commits })
	eventually(t, "batches are given up", func() bool { return s.spooled() > spooled })
	x.delay.Store(0)
	l.during(200)
	l.count(delayed, d)
}

func TestNetworkSilent(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	x := newProxy(t, p, d.host)
	s := newService(t, p, x.url())
	l := startLoad(t, 16, s)
	l.during(200)
	x.swallow.Store(true)
	spooledDuring(t, s, 500)
	x.swallow.Store(false)
	l.during(200)
	l.count(cablePulled, d)
}

func TestSlowClients(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	const slow = 1000
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	closed := make(chan bool, slow)
	for i := range slow {
		conn, err := net.Dial("tcp", s.address())
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		head := "POST /webhooks/zapi HTTP/1.1\r\nHost: x\r\n"
		if i%2 == 0 { // half of them are slow with their headers, half with their body
			head += "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
		}
		_, err = conn.Write([]byte(head))
		must(t, err)
		go func() {
			for ctx.Err() == nil {
				if _, err := conn.Write([]byte("x")); err != nil {
					closed <- true
					return
				}
				time.Sleep(time.Second)
			}
		}()
	}
	l := startLoad(t, 16, s)
	l.during(2000)
	// Those that are slow with their headers are shown out while the others still send.
	for range slow / 2 {
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatal("the slow clients are still there")
		}
	}
	l.during(500)
	cancel()
	l.stop()
	l.count(slowClients, d)
	if n := l.failed.Load() + l.unavailable.Load(); n > 0 {
		t.Errorf("%d requests were not acknowledged", n)
	}
	if l.slowest > 10*time.Second {
		t.Errorf("a request waited for %s", l.slowest)
	}
}

func contains(s *service, words string) bool { return strings.Contains(tail(s.log()), words) }
