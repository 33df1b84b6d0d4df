//go:build linux

package faults

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

const requestTimeout = 30 * time.Second

var lastNumber atomic.Int64 // of the events that this process sent

// load sends events, each once and with its own number, and records the response to each.
type load struct {
	t       testing.TB
	rng     *rand.Rand // of the test's choices
	targets []*service
	pace    time.Duration // a connection waits for up to twice as long between requests
	pad     int           // bytes by which an event is larger
	cached  bool          // after a while it has no new contacts

	cancel  context.CancelFunc
	workers sync.WaitGroup

	sent, acknowledged, unavailable, failed atomic.Int64

	mu      sync.Mutex
	letters map[int64]letter // by number
	other   map[int]int      // responses besides 200 and 503
	hasty   int              // responses of 503 without Retry-After
	slowest time.Duration    // until a response of 200
}

// letter is an event that was sent.
type letter struct {
	event       presence.Event
	sentAt      time.Time
	respondedAt time.Time
	id          string // "" unless the response was 200
}

// startLoad sends to the services in turn, over this many connections, until stop.
func startLoad(t testing.TB, connections int, targets ...*service) *load {
	return (&load{pace: 2 * time.Millisecond}).start(t, connections, targets...)
}

func (l *load) start(t testing.TB, connections int, targets ...*service) *load {
	t.Helper()
	l.t, l.rng, l.targets, l.letters, l.other = t, pgtest.Rand(t), targets, map[int64]letter{}, map[int]int{}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for i := range connections {
		rng := rand.New(rand.NewPCG(l.rng.Uint64(), 0))
		l.workers.Go(func() { l.work(ctx, targets[i%len(targets)].address(), rng) })
	}
	t.Cleanup(l.stop)
	return l
}

// moment is the duration of a fault that needs no certain one.
func (l *load) moment() time.Duration {
	return 200*time.Millisecond + time.Duration(l.rng.Int64N(int64(500*time.Millisecond)))
}

// stop ends the load after the requests under way.
func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
}

func (l *load) work(ctx context.Context, address string, rng *rand.Rand) {
	var conn net.Conn
	var responses *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for ctx.Err() == nil {
		if conn == nil {
			c, err := net.DialTimeout("tcp", address, requestTimeout)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			conn, responses = c, bufio.NewReader(c)
		}
		if err := l.send(conn, responses, address); err != nil {
			conn.Close()
			conn = nil
		}
		if l.pace > 0 {
			time.Sleep(time.Duration(rng.Int64N(int64(2 * l.pace))))
		}
	}
}

// send sends one event. After an error the connection is unusable.
func (l *load) send(conn net.Conn, responses *bufio.Reader, address string) error {
	n := lastNumber.Add(1)
	sent := letter{event: l.newEvent(n)}
	req, err := simulate.Request(context.Background(), "http://"+address+"/webhooks/zapi", "", sent.event)
	if err != nil {
		return err
	}
	var wire bytes.Buffer
	if err := req.Write(&wire); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	sent.sentAt = presence.Now()
	l.sent.Add(1)
	_, err = conn.Write(wire.Bytes())
	var resp *http.Response
	var body []byte
	if err == nil {
		if resp, err = http.ReadResponse(responses, req); err == nil {
			body, err = io.ReadAll(resp.Body)
		}
	}
	sent.respondedAt = presence.Now()

	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.letters[n] = sent }()
	if err != nil {
		l.failed.Add(1)
		return err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		var response struct{ ID string }
		if err := json.Unmarshal(body, &response, json.MatchCaseInsensitiveNames(true)); err != nil || response.ID == "" {
			l.t.Errorf("a response of 200 without an id: %s", body)
		}
		sent.id = response.ID
		l.acknowledged.Add(1)
		l.slowest = max(l.slowest, sent.respondedAt.Sub(sent.sentAt))
	case http.StatusServiceUnavailable:
		l.unavailable.Add(1)
		if resp.Header.Get("Retry-After") == "" {
			l.hasty++
		}
	default:
		l.other[resp.StatusCode]++
	}
	if resp.Close {
		return errors.New("the connection's last response")
	}
	return nil
}

// newEvent returns the event of a number. Its unknown fields use unusual but valid JSON, so that an event that reaches the
// database in two ways is only equal if neither way changes a byte.
func (l *load) newEvent(n int64) presence.Event {
	extra := fmt.Appendf(nil, `{"n":%d,"text":"caf\u00e9 \/ \"%d\"","list":[2.50,1E2,{}]`, n, n)
	if l.pad > 0 {
		extra = fmt.Appendf(extra, `,"pad":"%s"`, strings.Repeat("x", l.pad))
	}
	phone := n * 7919 % 31
	if n%100 == 0 && !l.cached {
		phone = n // a new contact
	}
	return presence.Event{
		InstanceID: fmt.Sprintf("instance-%d", n%3), Phone: fmt.Sprintf("55449%08d", phone),
		Status: presence.Statuses()[n%5], Extra: append(extra, '}'),
	}
}

// during waits until this many more events are acknowledged.
func (l *load) during(events int64) {
	l.t.Helper()
	want := l.acknowledged.Load() + events
	pgtest.Eventually(l.t, fmt.Sprintf("%d more events are acknowledged", events), func() bool { return l.acknowledged.Load() >= want })
}

// count waits until the services are healthy, looks for every event in the database and writes the row of the table. It fails
// the test if an acknowledged event is missing or one is there twice.
func (l *load) count(name string, d *database) {
	l.t.Helper()
	l.countExcept(name, d, nil)
}

// countExcept is count where events in the spool were damaged on purpose: they may be missing.
func (l *load) countExcept(name string, d *database, damaged map[int64]bool) {
	l.t.Helper()
	l.stop()
	for _, s := range l.targets {
		pgtest.Eventually(l.t, "the service at "+s.host+" has its database and an empty spool", s.healthy)
		pgtest.Eventually(l.t, "the spools of "+s.dataDir+" are empty", func() bool { return len(s.segments()) == 0 })
	}
	conn, err := d.connect()
	must(l.t, err)
	defer conn.Close(context.Background())

	f := fault{name: name, sent: len(l.letters), acknowledged: int(l.acknowledged.Load())}
	times := map[int64]int{}
	rows, err := conn.Query(context.Background(), `
		SELECT i.name, c.phone, e.status, e.received_at, e.seq, e.extra::text
		FROM events AS e JOIN contacts AS c ON c.id = e.contact_id JOIN instances AS i ON i.id = c.instance_id
		WHERE i.name LIKE 'instance-%'`)
	must(l.t, err)
	errorCount := 0
	complain := func(format string, args ...any) {
		l.t.Helper()
		if errorCount++; errorCount <= 10 {
			l.t.Errorf(format, args...)
		}
	}
	for rows.Next() {
		var e presence.Event
		var extra string
		must(l.t, rows.Scan(&e.InstanceID, &e.Phone, &e.Status, &e.ReceivedAt, &e.Seq, &extra))
		n := numberIn(extra)
		sent, ok := l.letters[n]
		if !ok {
			complain("an event is stored that was not sent: %s", extra)
			continue
		}
		times[n]++
		want := sent.event
		if e.InstanceID != want.InstanceID || e.Phone != want.Phone || e.Status != want.Status {
			complain("event %d was stored as %v", n, e)
		}
		if extra != string(want.Extra) {
			complain("the unknown fields of event %d were stored as %s, sent as %s", n, extra, want.Extra)
		}
		if e.ReceivedAt.Before(sent.sentAt) || e.ReceivedAt.After(sent.respondedAt) {
			complain("event %d was sent at %s and got its response at %s, and stored as received at %s", n, sent.sentAt, sent.respondedAt, e.ReceivedAt)
		}
		if id := presence.EventID(e.ReceivedAt, e.Seq); sent.id != "" && id != sent.id {
			complain("event %d is stored under the id %s, and the response was %s", n, id, sent.id)
		}
	}
	must(l.t, rows.Err())
	f.found = len(times)
	for n, sent := range l.letters {
		switch {
		case times[n] > 1:
			f.duplicated++
			complain("event %d is stored %d times", n, times[n])
		case times[n] == 1 || sent.id == "":
		case damaged[n]:
			f.setAside++
		default:
			f.missing++
			complain("event %d, sent at %s and acknowledged at %s, is missing", n,
				sent.sentAt.Format(time.RFC3339Nano), sent.respondedAt.Format(time.RFC3339Nano))
		}
	}
	if errorCount > 10 {
		l.t.Errorf("and %d more errors", errorCount-10)
	}
	if n := d.number(`SELECT count(*) FROM rejected_payloads WHERE position('"n":'::bytea IN body) > 0`); n != 0 {
		l.t.Errorf("%d events are among the rejected payloads", n)
	}
	if l.hasty != 0 {
		l.t.Errorf("%d responses of 503 had no Retry-After", l.hasty)
	}
	if len(l.other) != 0 {
		l.t.Errorf("responses that our own faults must not cause: %v", l.other)
	}
	if f.acknowledged == 0 {
		l.t.Error("no event was acknowledged")
	}
	l.t.Logf("sent %d, 200 %d, 503 %d, no response %d; found %d, missing %d, set aside %d, duplicated %d; slowest response %s",
		f.sent, f.acknowledged, l.unavailable.Load(), l.failed.Load(), f.found, f.missing, f.setAside, f.duplicated, l.slowest.Round(time.Millisecond))
	table.add(f)
}

// numberIn returns the number in an event's unknown fields, or -1.
func numberIn(extra string) int64 {
	rest, ok := strings.CutPrefix(extra, `{"n":`)
	digits, _, more := strings.Cut(rest, ",")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || !more || err != nil {
		return -1
	}
	return n
}
