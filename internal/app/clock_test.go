package app_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// With the clock set back an hour, every event is late: it lies where intervals are stored already. Batches still are written
// as batches, by as many statements whatever they hold. Statements are counted, and slowed down, so that events gather.
func TestClockSetBackKeepsBatches(t *testing.T) {
	t.Parallel()
	const senders, each, contacts = 64, 10, 20
	var back atomic.Int64
	now := func() time.Time { return presence.Now().Add(-time.Duration(back.Load())) }
	s := start(t, func(c *app.Config) { c.Now = now })
	got := acknowledged{ids: map[string][]string{}}
	send := func(each int) {
		t.Helper()
		var wg sync.WaitGroup
		for sender := range senders {
			wg.Go(func() {
				for i := range each {
					n := sender*each + i
					ok, err := got.send(t, s, "i", fmt.Sprint("p", n%contacts), presence.Statuses()[n%5].String())
					if !ok || err != nil {
						t.Errorf("an event was not acknowledged (%v)", err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	back.Store(int64(time.Minute))
	send(1)
	if err := intervals.Refresh(t.Context(), s.pool, presence.Now, 0); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"CREATE SEQUENCE inserts MINVALUE 0",
		"CREATE SEQUENCE marks MINVALUE 0",
		`CREATE FUNCTION count_insert() RETURNS trigger LANGUAGE plpgsql AS
			$$ BEGIN PERFORM nextval('inserts'), pg_sleep(0.02); RETURN NULL; END $$`,
		// Not what the service inserts when it refreshes the intervals, every 5 s.
		`CREATE FUNCTION count_mark() RETURNS trigger LANGUAGE plpgsql AS $$
			DECLARE callers text;
			BEGIN
				GET DIAGNOSTICS callers = PG_CONTEXT;
				IF position('mark_late(' IN callers) > 0 THEN PERFORM nextval('marks'); END IF;
				RETURN NULL;
			END $$`,
		"CREATE TRIGGER count_insert BEFORE INSERT ON events EXECUTE FUNCTION count_insert()",
		"CREATE TRIGGER count_mark BEFORE INSERT ON contact_states EXECUTE FUNCTION count_mark()",
	} {
		pgtest.Exec(t, s.pool, sql)
	}
	batches := func() int { return s.metric(t, "presencelog_batch_events_count") }

	before := batches()
	back.Store(int64(time.Hour))
	send(each)
	written := batches() - before
	const events = senders * each
	if n := pgtest.Get[int](t, s.pool, "SELECT count(*) FROM events WHERE received_at <= (SELECT cutoff FROM interval_progress)"); n != senders+events {
		t.Errorf("%d late events are stored, %d were sent", n, senders+events)
	}
	back.Store(0) // the API shows no future
	if stored := got.kept(t, s); stored != senders+events {
		t.Errorf("%d events are stored, %d were sent", stored, senders+events)
	}
	// A batch is tried as one in time, at first and each second, and else only written as a late one.
	inserts, marks := pgtest.Get[int](t, s.pool, "SELECT nextval('inserts')"), pgtest.Get[int](t, s.pool, "SELECT nextval('marks')")
	t.Logf("%d events, %d batches, %d statements that insert events, %d that mark contacts", events, written, inserts, marks)
	if written == 0 || inserts > 2*written || marks != written {
		t.Errorf("%d batches took %d statements that insert events, and %d that mark contacts", written, inserts, marks)
	}
	if inserts > events/4 {
		t.Errorf("%d events took %d statements", events, inserts)
	}
}
