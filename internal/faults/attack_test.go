//go:build linux

package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/simulate"
)

// maxMemoryAttacked is the most that the service may use while it is attacked.
const maxMemoryAttacked = 500 << 20

// attackers call the service in every way that costs it much, until the context ends.
type attackers struct {
	t      testing.TB
	s      *service
	client *http.Client

	instance, phone string // of the history that the readers ask for

	rejected, answered, reading, refused atomic.Int64
}

// do makes a request and returns the status of the response, or 0.
func (a *attackers) do(ctx context.Context, method, path, body string) int {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.s.address()+path, strings.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// junk sends payloads that are rejected, and kept.
func (a *attackers) junk(ctx context.Context, i int) {
	bodies := []string{
		`{"type":"PresenceChatCallback","instanceId":"junk","phone":"1","status":"DANCING"}`,
		`{"type":"PresenceChatCallback","instanceId":"junk","status":`,
		`{"type":"PresenceChatCallback","instanceId":1,"phone":["` + strings.Repeat("x", 1000) + `"]}`,
		strings.Repeat("junk", 100),
		`{"type":"PresenceChatCallback","text":"` + strings.Repeat("y", 60_000) + `"}`,
	}
	for ; ctx.Err() == nil; i++ {
		body := bodies[i%4]
		if i%50 == 0 {
			body = bodies[4]
		}
		switch a.do(ctx, http.MethodPost, "/webhooks/zapi", body) {
		case 0:
			time.Sleep(10 * time.Millisecond)
		case http.StatusBadRequest, http.StatusUnprocessableEntity:
			a.rejected.Add(1)
		default:
			a.refused.Add(1)
		}
	}
}

// read asks for a page of large events and does not read the response.
func (a *attackers) read(ctx context.Context) {
	for ctx.Err() == nil {
		conn, err := net.Dial("tcp", a.s.address())
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(conn, "GET /v1/instances/%s/contacts/%s/events?from=2026-01-01&limit=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", a.instance, a.phone)
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			a.reading.Add(1)
			<-ctx.Done()
		}
		conn.Close()
	}
}

// ask asks heavy queries.
func (a *attackers) ask(ctx context.Context, i int) {
	in := "from=" + time.Now().AddDate(0, 0, -40).Format(time.DateOnly) + "&tz=America/Sao_Paulo"
	questions := []string{"/durations?bucket=hour&", "/heatmap?", "/top?limit=100&", "/contacts/" + a.phone + "/events?limit=1000&"}
	for ; ctx.Err() == nil; i++ {
		switch a.do(ctx, http.MethodGet, "/v1/instances/"+a.instance+questions[i%len(questions)]+in, "") {
		case 0:
			time.Sleep(10 * time.Millisecond)
		case http.StatusOK:
			a.answered.Add(1)
		default:
			a.refused.Add(1)
		}
	}
}

// p99 returns the 99th percentile of the time until the response of 200, of events sent in [from, to).
func (l *load) p99(from, to time.Time) (p99 time.Duration, events int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var took []time.Duration
	for _, sent := range l.letters {
		if sent.id != "" && !sent.sentAt.Before(from) && sent.sentAt.Before(to) {
			took = append(took, sent.respondedAt.Sub(sent.sentAt))
		}
	}
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[len(took)*99/100], len(took)
}

// Junk, readers that do not read and heavy queries, all at once, while events flow. Not in parallel: it uses the whole machine.
func TestEventsFlowUnderAttack(t *testing.T) {
	junk, readers, questions, lasts := 200, 20, 40, 3*time.Second
	if long {
		junk, lasts = 2500, 30*time.Second
	}
	p := newPlace(t)
	d := newDatabase(t, p)
	s := newService(t, p, d.url())
	a := &attackers{t: t, s: s, instance: simulate.InstanceIDs(1, 1)[0], phone: "5544900000000"}
	a.client = &http.Client{Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: junk + questions}}
	a.history(d)

	l := startLoad(t, 16, s)
	l.during(200)
	began := time.Now()
	time.Sleep(lasts / 2)
	idle, _ := l.p99(began, time.Now())

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	for i := range junk {
		wg.Go(func() { a.junk(ctx, i) })
	}
	for range readers {
		wg.Go(func() { a.read(ctx) })
	}
	for i := range questions {
		wg.Go(func() { a.ask(ctx, i) })
	}
	pgtest.Eventually(t, "everything is under way", func() bool {
		return a.rejected.Load() >= int64(junk) && a.reading.Load() == int64(readers) && a.answered.Load() > 0
	})
	began = time.Now()
	l.during(500)
	time.Sleep(time.Until(began.Add(lasts)))
	attacked, events := l.p99(began, time.Now())
	cancel()
	wg.Wait()
	l.count(attack, d)
	m := s.peakMemory()
	t.Logf("%d senders of junk, %d slow readers, %d heavy queries for %s: p99 of %d events %s, before %s; memory at most %d MiB; "+
		"%d payloads rejected, %d questions answered, %d requests refused",
		junk, readers, questions, lasts, events, attacked.Round(time.Microsecond), idle.Round(time.Microsecond), m>>20,
		a.rejected.Load(), a.answered.Load(), a.refused.Load())
	if m > maxMemoryAttacked {
		t.Errorf("the service used %d MiB of memory", m>>20)
	}
}

// history imports a month of traffic, and a contact with large events.
func (a *attackers) history(d *database) {
	a.t.Helper()
	run := func(in io.Reader, args ...string) []byte {
		a.t.Helper()
		cmd := command(false, shared.program, args...)
		cmd.Env = append(cmd.Env, "DATABASE_URL="+d.url())
		var failure bytes.Buffer
		cmd.Stdin, cmd.Stderr = in, &failure
		out, err := cmd.Output()
		if err != nil {
			a.t.Fatalf("%q: %v\n%s", args, err, failure.Bytes())
		}
		return out
	}
	at := time.Now().UTC().AddDate(0, 0, -1)
	lines := bytes.NewBuffer(run(nil, "simulate", "--days", "30"))
	for i := range 1000 {
		fmt.Fprintf(lines, `{"type":"PresenceChatCallback","instanceId":"%s","phone":"%s","status":"COMPOSING","text":"%s","receivedAt":"%s"}`+"\n",
			a.instance, a.phone, strings.Repeat("x", 60_000), at.Add(time.Duration(i)*time.Second).Format(time.RFC3339))
	}
	run(lines, "import")
}
