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

// Queries share the connections to the database, and responses share memory. So both have places, for which requests wait in line;
// a client has its own line, so that it delays nobody but itself.
const (
	maxQueries   = 8  // as there are connections
	maxResponses = 48 // lists that are being sent; each takes some MB
	maxInLine    = 5 * time.Second
)

// maxHeavy is how many of the queries may be about more than one contact. Each keeps a CPU busy, or two, and on a small machine
// they must leave some to PostgreSQL for events.
var maxHeavy = int64(min(max(2, runtime.GOMAXPROCS(0)), 4))

// gate lets at most so many through at once, and of one client fewer.
type gate struct {
	all       *semaphore.Weighted
	perClient int64

	mu      sync.Mutex
	clients map[string]*line // those that are or wait inside
}

type line struct {
	places *semaphore.Weighted
	users  int
}

func newGate(places, perClient int64) *gate {
	return &gate{all: semaphore.NewWeighted(places), perClient: perClient, clients: map[string]*line{}}
}

// enter waits for a place, which leave gives back.
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
	p := problem.New(http.StatusServiceUnavailable, "Too many other requests are under way; try again later.")
	p.Header = http.Header{"Retry-After": {"2"}}
	return p
}

type gates struct{ queries, heavy, responses *gate }

// isHeavy says whether an operation is about more than a contact.
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
