package api

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/problem"
)

// Queries share the connections to the database, and responses share memory. So the number of both is limited, and requests
// wait in line. Each client has its own line, so that it does not delay others.
const (
	maxQueries   = 8  // as there are connections
	maxResponses = 48 // lists that are being sent; each takes some MB
	maxErasures  = 2  // they use the connections that events are written through, and may wait for locks
	maxInLine    = 5 * time.Second
)

// maxHeavy is the maximum of concurrent queries about more than one contact. Each keeps one or two CPUs busy, and PostgreSQL
// needs some CPU time for events.
var maxHeavy = int64(min(max(2, runtime.GOMAXPROCS(0)), 4))

// gate limits how many requests run at once, in all and per client.
type gate struct {
	all       *semaphore.Weighted
	perClient int64

	mu      sync.Mutex
	clients map[string]*line // clients with requests that run or wait
}

type line struct {
	places *semaphore.Weighted
	users  int
}

func newGate(places, perClient int64) *gate {
	return &gate{all: semaphore.NewWeighted(places), perClient: perClient, clients: map[string]*line{}}
}

// enter waits for a place. leave frees it.
func (g *gate) enter(ctx context.Context, client string) (leave func(), err error) {
	g.mu.Lock()
	l := g.clients[client]
	if l == nil {
		l = &line{places: semaphore.NewWeighted(g.perClient)}
		g.clients[client] = l
	}
	l.users++
	g.mu.Unlock()
	done := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(g.clients, client)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, maxInLine)
	defer cancel()
	if err := l.places.Acquire(ctx, 1); err != nil {
		done()
		return nil, busy()
	}
	if err := g.all.Acquire(ctx, 1); err != nil {
		l.places.Release(1)
		done()
		return nil, busy()
	}
	return sync.OnceFunc(func() {
		g.all.Release(1)
		l.places.Release(1)
		done()
	}), nil
}

func busy() error {
	return problem.Later(http.StatusServiceUnavailable, "Too many other requests are under way; try again later.", 2*time.Second)
}

type gates struct{ queries, heavy, responses, erasures *gate }

// isHeavy reports whether an operation reads more than one contact.
func isHeavy(path string) bool {
	return !strings.Contains(path, "{phone}") && path != "/v1/instances" && path != "/v1/status"
}

// enter waits until a query may run.
func (g gates) enter(ctx context.Context, heavy bool) (leave func(), err error) {
	client := auth.FromContext(ctx).Key()
	if !heavy {
		return g.queries.enter(ctx, client)
	}
	leaveHeavy, err := g.heavy.enter(ctx, client)
	if err != nil {
		return nil, err
	}
	leaveAll, err := g.queries.enter(ctx, client)
	if err != nil {
		leaveHeavy()
		return nil, err
	}
	return func() { leaveAll(); leaveHeavy() }, nil
}
