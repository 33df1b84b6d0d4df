//go:build browser

package webtest

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

const (
	loadContacts = 100_000
	loadRate     = 1000 // events per second
	loadFor      = 20 * time.Second
)

var loadEvents = flag.Int("events", 1_000_000, "how many events there are before the page is measured")

// BenchmarkPageUnderLoad opens the page on 100,000 contacts that are all in the chat, with events of 90 days, while 1,000
// events a second arrive. It tells how much of the time the browser's main thread is busy with Now, how soon views show
// something, and how long interactions take until they are seen.
func BenchmarkPageUnderLoad(b *testing.B) {
	traffic := simulate.Config{Seed: 1, Contacts: loadContacts, Instances: simulate.InstanceIDs(1, 4), Location: time.UTC}
	now := presence.Now()
	var contacts []presence.Event // one of each
	base := start(b, func(c *app.Config) {
		pool, err := postgres.Connect(b.Context(), c.Database, "test", 2)
		if err != nil {
			b.Fatal(err)
		}
		defer pool.Close()
		past, err := traffic.History(now.AddDate(0, 0, -90), now.Add(-time.Hour), *loadEvents)
		if err != nil {
			b.Fatal(err)
		}
		lines, out := io.Pipe()
		go func() {
			var line []byte
			write := func(e presence.Event) bool {
				line = gateway.AppendRecord(line[:0], e)
				_, err := out.Write(line)
				return err == nil
			}
			seen := map[[2]string]bool{}
			for e := range past {
				if key := [2]string{e.InstanceID, e.Phone}; !seen[key] {
					seen[key] = true
					contacts = append(contacts, e)
				}
				if !write(e) {
					return
				}
			}
			for i := 0; len(contacts) < loadContacts; i++ { // those that the history does not have
				contacts = append(contacts, presence.Event{InstanceID: traffic.Instances[i%4], Phone: fmt.Sprint(5511_000_000_000 + i)})
			}
			for i, e := range contacts {
				e.Status, e.ReceivedAt, e.LastSeen, e.Extra = presence.Available, now.Add(-time.Duration(i)*time.Millisecond), nil, nil
				write(e)
			}
			out.Close()
		}()
		if _, err := archive.Import(b.Context(), pool, lines, func(int64, error) {}, nil); err != nil {
			b.Fatal(err)
		}
		// Background work after an import is not measured here.
		if _, err := pool.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
			b.Fatal(err)
		}
		if err := intervals.Refresh(b.Context(), pool, presence.Now, 0); err != nil {
			b.Fatal(err)
		}
		if _, err := pool.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
			b.Fatal(err)
		}
	})
	// Each contact has an event in 100 s, so all stay in the chat.
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan struct{})
	began := presence.Now()
	go func() {
		defer close(ended)
		live := func(yield func(presence.Event) bool) {
			statuses := []presence.Status{presence.Available, presence.Composing, presence.Paused, presence.Recording, presence.Available}
			for i := 0; ; i++ {
				of := contacts[(i*7919)%len(contacts)]
				at := began.Add(time.Duration(i) * time.Second / loadRate)
				if !yield(presence.Event{InstanceID: of.InstanceID, Phone: of.Phone, Status: statuses[i*31%len(statuses)], ReceivedAt: at}) {
					return
				}
			}
		}
		sent, err := simulate.Play(ctx, simulate.NewClient(32), base+"/webhooks/zapi", "", live, 32, func() {})
		b.Logf("sent %d in %.0f s, failed %d, %v", sent.Sent, time.Since(began).Seconds(), sent.Failed, err)
	}()
	defer func() { stop(); <-ended }()
	for status := behind(b, base); status > 60; status = behind(b, base) {
		time.Sleep(time.Second)
	}

	tb := open(b, base, options{})
	call(tb, performance.Enable, performance.EnableParams{})
	// load opens a view and returns how long it takes until something is seen, and until a condition is met.
	load := func(path, ready string) (painted, filled float64) {
		tb.do(chromedp.Navigate(base + path))
		filled = js[float64](tb, `new Promise((done) => {
			const look = () => `+ready+` ? done(performance.now()) : setTimeout(look, 5);
			look();
		})`)
		return js[float64](tb, `performance.getEntriesByName("first-contentful-paint")[0].startTime`), filled
	}
	busy := func() (seconds float64) {
		for _, m := range call(tb, performance.GetMetrics, cdp.Empty{}).Metrics {
			if m.Name == "TaskDuration" {
				seconds = m.Value
			}
		}
		return seconds
	}
	slowest := func() float64 { return js[float64](tb, `window.slowest`) }
	const observe = `(window.slowest = 0, new PerformanceObserver((list) => {
		for (const e of list.getEntries()) window.slowest = Math.max(window.slowest, e.duration);
	}).observe({ type: "event", durationThreshold: 16 }), true)`
	settle := chromedp.Sleep(1500 * time.Millisecond)
	const rows = `document.querySelectorAll(".now tbody tr").length === 100`
	for b.Loop() {
		painted, filled := load("/", rows)
		b.ReportMetric(painted, "ms-now-paint")
		b.ReportMetric(filled, "ms-now-rows")
		tb.do(chromedp.Sleep(3 * time.Second)) // until the start is over
		before, requests := busy(), js[int](tb, `performance.getEntriesByType("resource").length`)
		began := time.Now()
		time.Sleep(loadFor)
		b.ReportMetric(100*(busy()-before)/time.Since(began).Seconds(), "%busy")
		b.ReportMetric(float64(js[int](tb, `performance.getEntriesByType("resource").length`)-requests)/loadFor.Seconds(), "requests/s")
		b.ReportMetric(js[float64](tb, `Math.max(...performance.getEntriesByType("resource").filter((e) => e.name.includes("/v1/now")).map((e) => e.duration))`), "ms-slowest-now")
		b.Log(js[string](tb, `document.querySelector(".chips").innerText`))

		js[bool](tb, observe)
		for _, chip := range []string{"typing", "chat", "away", "recording"} {
			tb.do(chromedp.Click(chromedp.CSS(`.chip.`+chip)), settle)
		}
		tb.do(chromedp.SendKeys(chromedp.CSS(`#search`), "55119"), settle)
		b.ReportMetric(slowest(), "ms-now-interaction")

		of := contacts[0]
		query := url.Values{"instance": {of.InstanceID}, "phone": {of.Phone}, "last": {"30d"}}
		painted, filled = load("/contact?"+query.Encode(), `document.querySelector(".sure") && document.querySelector(".bars")`)
		b.ReportMetric(painted, "ms-contact-paint")
		b.ReportMetric(filled, "ms-contact-drawn")
		js[bool](tb, observe)
		for _, value := range []string{"7d", "1y", "24h", "30d"} {
			tb.do(chromedp.Click(chromedp.CSS(`.range [data-value="`+value+`"]`)), settle)
		}
		tb.do(chromedp.Focus(chromedp.CSS(`.plot`)))
		for _, key := range []string{"+", "+", "-", kb.ArrowLeft, kb.ArrowRight, "n"} {
			tb.do(chromedp.KeyEvent(key), chromedp.Sleep(400*time.Millisecond))
		}
		b.ReportMetric(slowest(), "ms-contact-interaction")

		painted, filled = load("/instance?"+url.Values{"instance": {of.InstanceID}}.Encode(), `document.querySelector(".week") && document.querySelector(".top a")`)
		b.ReportMetric(painted, "ms-instance-paint")
		b.ReportMetric(filled, "ms-instance-filled")
	}
}

// behind returns how many seconds the background work is behind.
func behind(b *testing.B, base string) float64 {
	b.Helper()
	res, err := http.Get(base + "/v1/status")
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	var status struct {
		Background struct {
			BehindSeconds *float64
			LateContacts  int
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
		b.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || status.Background.BehindSeconds == nil || status.Background.LateContacts > 0 {
		return math.Inf(1)
	}
	return *status.Background.BehindSeconds
}
