package ingest_test

import (
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
)

// A standby that takes over may lack the transaction that made a contact. Its number must not be used any more.
func TestANewConnectionMayLeadToAServerWithoutTheContact(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t)
	s := ingest.NewStore(pool)
	write := func(at time.Time) {
		t.Helper()
		e := presence.Event{InstanceID: "i", Phone: "p", Status: presence.Available, ReceivedAt: at}
		if err := s.Write(t.Context(), []presence.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	write(noon)
	write(noon.Add(time.Second)) // by now the contact is known to the store
	if _, err := pool.Exec(t.Context(), "TRUNCATE events, contacts"); err != nil {
		t.Fatal(err)
	}
	pool.Reset() // the connections of old are gone
	write(noon.Add(time.Minute))
	var found int
	err := pool.QueryRow(t.Context(), "SELECT count(*) FROM events AS e JOIN contacts AS c ON c.id = e.contact_id WHERE c.phone = 'p'").Scan(&found)
	if err != nil || found != 1 {
		t.Errorf("%d events of the contact, %v; want 1", found, err)
	}
}
