package app_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/presencelog/presencelog/internal/erasure"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// A receiver has cached the id of a contact. It must not use it again, even if the erasure is interrupted.
func TestInterruptedErasure(t *testing.T) {
	t.Parallel()
	s := start(t)
	// With a hook, an erasure takes longer.
	pgtest.Exec(t, s.pool, `INSERT INTO hooks (url, secret, kinds, instances, private)
		VALUES ('https://example.org', '', '{}', '{}', false)`)
	s.postID(t, body("i", "p", "COMPOSING"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := erasure.Erase(ctx, s.pool, erasure.Request{InstanceID: "i", Phone: "p", By: "test"})
		done <- err
	}()
	pgtest.Eventually(t, "the contact is gone", func() bool { return len(pgtest.Strings(t, s.pool, "SELECT phone FROM contacts")) == 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.postID(t, body("i", "p", "COMPOSING"))
	got := pgtest.Strings(t, s.pool, "SELECT coalesce(c.phone, 'nobody') FROM events AS e LEFT JOIN contacts AS c ON c.id = e.contact_id")
	if len(got) != 1 || got[0] != "p" {
		t.Errorf("the events are of %q", got)
	}
}

func TestErasureKeepsRejectedPayloadsOfOtherInstances(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, instance := range []string{"i", "j"} {
		refused(t, s.post(t, body(instance, "5544", "LISTENING")), http.StatusUnprocessableEntity)
	}
	result, err := erasure.Erase(t.Context(), s.pool, erasure.Request{InstanceID: "i", Phone: "5544", By: "test"})
	if list := rejectedPayloads(t, s); err != nil || result.Rejected != 1 || len(list) != 1 {
		t.Errorf("%+v, %v; left are %+v", result, err, list)
	}
}

// While an instance is erased, a receiver adds a contact to it.
func TestInstanceErasedWhileAContactIsAdded(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.postID(t, body("i", "p", "COMPOSING"))
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	pgtest.Exec(t, tx, "INSERT INTO contacts (instance_id, phone) SELECT id, 'q' FROM instances")
	done := make(chan error, 1)
	go func() {
		_, err := erasure.Erase(t.Context(), s.pool, erasure.Request{InstanceID: "i", By: "test"})
		done <- err
	}()
	pgtest.AwaitBlocked(t, s.pool, done)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if left := pgtest.Strings(t, s.pool, "SELECT name FROM instances UNION ALL SELECT phone FROM contacts"); len(left) > 0 {
		t.Errorf("there are still %q", left)
	}
}
