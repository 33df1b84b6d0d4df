package api

import (
	"context"
	"testing"
	"testing/synctest"
)

// A client that has taken all its places delays itself, and no other.
func TestClientsWaitInTheirOwnLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, clientsWaitInTheirOwnLines)
}

func clientsWaitInTheirOwnLines(t *testing.T) {
	g := newGate(4, 2) // so that there is room for others when greedy waits
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var leave []func()
	for range 2 {
		l, err := g.enter(ctx, "greedy")
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	waiting := make(chan error, 1)
	waits, stop := context.WithCancel(ctx)
	go func() {
		_, err := g.enter(waits, "greedy")
		waiting <- err
	}()
	synctest.Wait()
	select {
	case err := <-waiting:
		t.Fatalf("a client that has its places does not wait (%v)", err)
	default:
	}
	other, err := g.enter(ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-waiting; err == nil {
		t.Error("a client got more than its places")
	}
	other()
	for _, l := range leave {
		l()
		l() // does nothing more
	}
	for range 2 {
		if _, err := g.enter(ctx, "greedy"); err != nil {
			t.Error(err)
		}
	}
	if len(g.clients) != 1 {
		t.Errorf("%d clients are remembered", len(g.clients))
	}
}

func TestQueriesOfOneContactAreLight(t *testing.T) {
	t.Parallel()
	for path, heavy := range map[string]bool{
		"/v1/instances": false, "/v1/status": false, "/v1/instances/{instanceId}/contacts/{phone}/timeline": false,
		"/v1/instances/{instanceId}/durations": true, "/v1/now": true, "/v1/instances/{instanceId}/contacts": true,
	} {
		if isHeavy(path) != heavy {
			t.Errorf("%s: heavy %t", path, !heavy)
		}
	}
}
