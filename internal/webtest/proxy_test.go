//go:build browser

package webtest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// proxy stands between the page and the service.
type proxy struct {
	base string

	mu    sync.Mutex
	serve http.HandlerFunc
}

// through starts a proxy of the service at an address.
func through(t *testing.T, base string) (p *proxy, forward http.HandlerFunc) {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	forward = (&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}).ServeHTTP
	p = &proxy{serve: forward}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		serve := p.serve
		p.mu.Unlock()
		serve(w, r)
	}))
	t.Cleanup(server.Close)
	p.base = server.URL
	return p, forward
}

// set sets what responds from now on.
func (p *proxy) set(serve http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve = serve
}

func badGateway(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

// await waits for a signal.
func await(t *testing.T, signal <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(pageTimeout):
		t.Fatal("it never happened: " + what)
	}
}

// drawn is whether the timeline shows something.
const drawn = `[...document.querySelectorAll("path.sure, path.unsure")].some((p) => p.getAttribute("d"))`

// typed are events of a contact that typed an hour ago.
func typed(instance, phone string) [][4]string {
	at := time.Now().UTC().Add(-time.Hour)
	return [][4]string{
		{instance, phone, "COMPOSING", at.Format(time.RFC3339)}, {instance, phone, "UNAVAILABLE", at.Add(time.Minute).Format(time.RFC3339)},
	}
}

func TestPageRecoversBehindAProxy(t *testing.T) {
	t.Parallel()
	p, forward := through(t, startWith(t, typed("i", "1")...))
	tb := open(t, p.base, options{})
	tb.expect("502 (Bad Gateway)")
	refused := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			badGateway(w, r)
			return
		}
		forward(w, r)
	}
	p.set(refused)
	tb.visit("/instance?instance=i")
	tb.until(`document.querySelector(".top .error") && document.querySelector(".sums .error")`)
	p.set(forward)
	tb.until(`document.querySelector(".top a") && document.querySelector(".totals") && document.querySelector(".week")`)

	p.set(refused)
	tb.visit(contactURL("i", "1"))
	tb.until(`!document.querySelector(".view > .error").hidden`)
	// Slower than the page polls without the feed.
	slow := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/live") {
			badGateway(w, r)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/lanes") {
			time.Sleep(5 * time.Second)
		}
		forward(w, r)
	}
	p.set(slow)
	tb.until(`document.querySelector(".view > .error").hidden && ` + drawn)
	tb.until(`document.querySelector(".totals")`)
	feed := make(chan struct{}, 1)
	p.set(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/live") {
			select {
			case feed <- struct{}{}:
			default:
			}
		}
		forward(w, r)
	})
	await(t, feed, "the page asks for the feed again")

	var once sync.Once
	p.set(func(w http.ResponseWriter, r *http.Request) {
		serve := forward
		if strings.HasSuffix(r.URL.Path, "/contacts/1") {
			once.Do(func() { serve = badGateway })
		}
		serve(w, r)
	})
	tb.visit(contactURL("i", "1"))
	tb.until(`document.querySelector(".now-line-text .status")`)
}

// The response of an older request must not replace that of a newer one.
func TestNewRequestsReplaceOlderOnes(t *testing.T) {
	t.Parallel()
	p, forward := through(t, startWith(t, typed("i", "1")...))
	tb := open(t, p.base, options{})
	for _, c := range []struct{ path, older, first, second, ready string }{
		{"/instance?instance=i", "/top?", `true`, `document.querySelector('.head [data-value="visits"]').click()`, `document.querySelector(".top a")`},
		{
			contactURL("i", "1"), "measure=typing", `document.querySelector('.sums [data-value="typing"]').click()`,
			`document.querySelector('.sums [data-value="recording"]').click()`, `document.querySelector(".week")`,
		},
		{
			contactURL("i", "1"), "search=5", `set("5")`, `set("1")`, `document.querySelector("#found")`,
		},
	} {
		aborted := make(chan struct{})
		var once sync.Once
		asked := make(chan struct{})
		p.set(func(w http.ResponseWriter, r *http.Request) {
			hold := false
			if strings.Contains(r.URL.String(), c.older) {
				once.Do(func() { hold = true })
			}
			if !hold {
				forward(w, r)
				return
			}
			close(asked)
			<-r.Context().Done() // the page no longer waits
			close(aborted)
		})
		tb.visit(c.path)
		const set = `const set = (text) => { const input = document.querySelector("#compare"); input.value = text; input.dispatchEvent(new Event("input")); };`
		tb.until(`document.querySelector(".totals")`)
		js[bool](tb, `(() => { `+set+c.first+`; return true; })()`)
		await(t, asked, c.older)
		js[bool](tb, `(() => { `+set+c.second+`; return true; })()`)
		await(t, aborted, "the page aborts "+c.older)
		tb.until(c.ready)
	}
}

func TestRawEventsByPages(t *testing.T) {
	t.Parallel()
	var events [][4]string
	for i := range 60 {
		events = append(events, [4]string{"i", "1", "AVAILABLE", time.Now().UTC().Add(-time.Hour + time.Duration(i)*time.Second).Format(time.RFC3339)})
	}
	p, forward := through(t, startWith(t, events...))
	tb := open(t, p.base, options{})
	tb.expect("502 (Bad Gateway)")
	const raw = `[...document.querySelectorAll("details")].find((d) => d.textContent.startsWith("Raw events"))`
	tb.visit(contactURL("i", "1") + "&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z")
	js[bool](tb, raw+`.open = true`)
	tb.until(raw + `.textContent.includes("There are no events in this range.")`)

	p.set(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/events") {
			badGateway(w, r)
			return
		}
		forward(w, r)
	})
	tb.visit(contactURL("i", "1"))
	js[bool](tb, raw+`.open = true`)
	tb.until(raw + `.textContent.includes("could not respond")`)
	p.set(forward)
	rows := raw + `.querySelectorAll("tbody tr").length`
	tb.until(rows + ` === 50 && !` + raw + `.textContent.includes("could not respond")`)
	js[bool](tb, `(() => { const more = `+raw+`.querySelector("button"); more.click(); more.click(); return true; })()`)
	tb.until(rows + ` >= 60`)
	js[int](tb, `fetch("/v1/instances/i/contacts/1/events").then((r) => r.json()).then(() => 0)`) // a second response would be here by now
	if n := js[int](tb, rows); n != 60 {
		t.Errorf("60 events are %d rows", n)
	}
}

// Counts are those of one process: another one, after a restart or beside it, has counted from its own start.
func TestRateIsOfOneProcess(t *testing.T) {
	t.Parallel()
	base := start(t)
	p, forward := through(t, base)
	respond := func(age time.Duration, received int) {
		t.Helper()
		res, err := http.Get(base + "/v1/status")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var status map[string]any
		if err := json.NewDecoder(res.Body).Decode(&status); err != nil {
			t.Fatal(err)
		}
		status["startedAt"] = time.Now().UTC().Add(-age)
		status["events"].(map[string]any)["received"] = received
		p.set(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1/status" {
				forward(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(status)
		})
	}
	fact := func(name string) string {
		return `[...document.querySelectorAll(".facts div")].find((d) => d.textContent.startsWith("` + name + `"))?.querySelector("dd").textContent`
	}
	tb := open(t, p.base, options{})
	respond(time.Hour, 7200)
	tb.visit("/status")
	tb.until(fact("Events since start") + ` === "7,200"`)
	respond(10*time.Second, 30)
	tb.until(fact("Events since start") + ` === "30"`)
	if rate := js[string](tb, fact("Events per second")); strings.HasPrefix(rate, "-") {
		t.Errorf("the rate is %s", rate)
	}
}

// What a view has started must not change the address of the next one.
func TestClosedViewSendsNoRequests(t *testing.T) {
	t.Parallel()
	tb := open(t, startWith(t, typed("i", "1")...), options{})
	tb.visit("/")
	tb.until(`document.querySelector(".now tbody th a")`)
	settled := func() { js[bool](tb, `new Promise((done) => setTimeout(() => done(true), 1000))`) } // longer than moves and typing take
	js[bool](tb, `(() => {
		const search = document.querySelector("#search");
		search.value = "1";
		search.dispatchEvent(new Event("input"));
		document.querySelector(".now tbody th a").click();
		return true;
	})()`)
	settled()
	if at := js[string](tb, `location.pathname`); at != "/contact" {
		t.Errorf("the address of a contact is %s", at)
	}
	tb.visit(contactURL("i", "1"))
	tb.until(drawn)
	for _, move := range []string{
		`new KeyboardEvent("keydown", { key: "ArrowLeft" })`, `new WheelEvent("wheel", { deltaX: 100 })`,
	} {
		js[bool](tb, `document.querySelector(".plot").dispatchEvent(`+move+`), document.querySelector("nav a").click(), true`)
		settled()
		if at := js[string](tb, `location.pathname`); at != "/" {
			t.Errorf("after %s the address of Now is %s", move, at)
		}
		tb.do(chromedp.NavigateBack())
		tb.until(`location.pathname === "/contact" && ` + drawn)
	}
}
