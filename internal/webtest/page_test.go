//go:build browser

package webtest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/postgres"
)

// post sends an event as Z-API does and returns the response's status.
func post(t *testing.T, base, path, instance, phone, status string) int {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"type": "PresenceChatCallback", "instanceId": instance, "phone": phone, "status": status, "lastSeen": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(base+path, "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// load stores events of the past.
func load(t *testing.T, database string, events ...[4]string) {
	t.Helper()
	pool, err := postgres.Connect(t.Context(), database, "test", 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var lines strings.Builder
	for _, e := range events {
		line, err := json.Marshal(map[string]any{
			"type": "PresenceChatCallback", "instanceId": e[0], "phone": e[1], "status": e[2], "lastSeen": nil, "receivedAt": e[3], "senderName": "<b>Ana</b>",
		})
		if err != nil {
			t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
	}
	if _, err := archive.Import(t.Context(), pool, strings.NewReader(lines.String()), func(n int64, err error) { t.Error(n, err) }, nil); err != nil {
		t.Fatal(err)
	}
}

// startWith starts a service with a history.
func startWith(t *testing.T, events ...[4]string) string {
	t.Helper()
	return start(t, func(c *app.Config) { load(t, c.Database, events...) })
}

func contactURL(instance string, phones ...string) string {
	return "/contact?" + url.Values{"instance": {instance}, "phone": phones}.Encode()
}

func TestFirstRunShowsSetupThenTheFirstEvent(t *testing.T) {
	base := start(t)
	tb := open(t, base, options{})
	tb.visit("/")
	tb.until(`document.querySelector(".empty")?.textContent.includes("Nothing has arrived yet.")`)
	tb.do(chromedp.Click(chromedp.CSS(`.empty a`)))
	tb.until(`location.pathname === "/setup" && document.querySelector(".arrived.no")`)
	tb.until(`document.querySelector(".url").textContent === "` + base + `/webhooks/zapi"`)
	// Browsers have no clipboard on a page without https, but on localhost.
	js[bool](tb, `Object.defineProperty(navigator, "clipboard", { value: undefined }), true`)
	tb.do(chromedp.Click(chromedp.CSS(`.url-box button`)))
	tb.until(`getSelection().toString() === "` + base + `/webhooks/zapi" && document.querySelector(".url-box button").textContent === "Selected"`)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "COMPOSING")
	tb.until(`document.querySelector(".arrived.yes")`)
	tb.visit("/")
	tb.until(`document.querySelector(".now .is-composing")?.textContent.includes("+55 44 99999-9999")`)
}

func TestEventsArriveWhileThePageIsOpen(t *testing.T) {
	base := start(t)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "AVAILABLE")
	tb := open(t, base, options{})
	tb.visit("/")
	tb.until(`document.querySelector(".now .is-available")`)
	js[bool](tb, `window.row = document.querySelector(".now tbody tr"), true`)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "COMPOSING")
	tb.until(`document.querySelector(".now .is-composing") === window.row`) // the same row, changed
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "RECORDING")
	tb.until(`document.querySelector(".now .is-recording")`)
	post(t, base, "/webhooks/zapi", "j", "5544888888888", "COMPOSING")
	tb.until(`document.querySelectorAll(".now tbody tr").length === 2`)
	tb.do(chromedp.Click(chromedp.CSS(`.chip.typing`)))
	tb.until(`location.search === "?show=typing" && document.querySelectorAll(".now tbody tr").length === 1`)
	post(t, base, "/webhooks/zapi", "j", "5544888888888", "UNAVAILABLE")
	tb.until(`document.querySelectorAll(".now tbody tr:not([hidden])").length === 0 && document.querySelector(".empty").textContent.includes("No contact matches.")`)
	tb.do(chromedp.Click(chromedp.CSS(`.pause`)))
	tb.until(`document.querySelector(".view.paused .pause[aria-pressed=true]")`)

	tb.visit(contactURL("i", "5544999999999"))
	tb.until(`document.querySelector(".now-line-text .mark-recording")`)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "PAUSED")
	tb.until(`document.querySelector(".now-line-text .mark-paused")`)
}

func TestFiltersAndSearchAreInTheAddress(t *testing.T) {
	base := start(t)
	for _, phone := range []string{"5544999999991", "5544999999992", "5511888888888"} {
		post(t, base, "/webhooks/zapi", "i", phone, "AVAILABLE")
	}
	tb := open(t, base, options{})
	post(t, base, "/webhooks/zapi", "j", "5544999999991", "COMPOSING")
	tb.visit("/")
	tb.until(`document.querySelectorAll(".now tbody tr").length === 4`)
	tb.do(chromedp.SendKeys(chromedp.CSS(`#search`), "5544"))
	tb.until(`document.querySelectorAll(".now tbody tr").length === 3 && location.search === "?search=5544"`)
	tb.do(chromedp.SetValue(chromedp.CSS(`#instance`), "i"))
	js[bool](tb, `document.querySelector("#instance").dispatchEvent(new Event("change")), true`)
	tb.until(`document.querySelectorAll(".now tbody tr").length === 2 && location.search.includes("instance=i")`)
	tb.do(chromedp.Click(chromedp.CSS(`th[data-sort=phone] button`)))
	tb.until(`document.querySelector("th[data-sort=phone][aria-sort=ascending]")`)
	tb.visit(js[string](tb, `location.pathname + location.search`)) // the link alone shows the same
	tb.until(`document.querySelectorAll(".now tbody tr").length === 2 && document.querySelector("#search").value === "5544"`)
	if first := js[string](tb, `document.querySelector(".now tbody th a").title`); first != "5544999999991" {
		t.Errorf("first by phone is %s", first)
	}
	js[bool](tb, `(() => { // faster than the search waits for more
		const search = document.querySelector("#search");
		search.value = "55449";
		search.dispatchEvent(new Event("input"));
		document.querySelector(".chip.chat").click();
		return true;
	})()`)
	tb.until(`location.search.includes("show=chat") && location.search.includes("search=55449") && document.querySelector("#search").value === "55449"`)
}

func TestBackAndForwardGoThroughViewsAndRanges(t *testing.T) {
	base := start(t)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "AVAILABLE")
	tb := open(t, base, options{})
	tb.visit("/")
	tb.until(`document.querySelector(".now tbody a")`)
	tb.do(chromedp.Click(chromedp.CSS(`.now tbody th a`)))
	tb.until(`location.pathname === "/contact" && document.querySelector(".plot")`)
	tb.do(chromedp.Click(chromedp.CSS(`[data-value="7d"]`)))
	tb.until(`location.search.includes("last=7d")`)
	tb.do(chromedp.Click(chromedp.CSS(`[data-value="30d"]`)))
	tb.until(`location.search.includes("last=30d")`)
	tb.do(chromedp.NavigateBack())
	tb.until(`document.querySelector('[data-value="7d"][aria-pressed=true]')`)
	tb.do(chromedp.NavigateBack())
	tb.until(`document.querySelector('[data-value="24h"][aria-pressed=true]')`)
	tb.do(chromedp.NavigateBack())
	tb.until(`location.pathname === "/" && document.querySelector(".now tbody a")`)
	tb.do(chromedp.NavigateForward())
	tb.until(`location.pathname === "/contact" && document.querySelector(".plot")`)
	if title := js[string](tb, `document.title`); title != "+55 44 99999-9999 · presencelog" {
		t.Errorf("the title is %q", title)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 8)
	hebrew := "שלום"
	phones := []string{
		`<script>document.title="run"</script>`, `<img src=x onerror=alert(1)>`, `"><b id=bold>`, long, hebrew, "a/b?c#d&e%2F", "{n} {phone}", "120363-group",
	}
	instance := `<i id=italic>'"`
	now := time.Now().UTC()
	var events [][4]string
	for _, phone := range phones {
		events = append(events, [4]string{instance, phone, "COMPOSING", now.Add(-time.Hour).Format(time.RFC3339)}, [4]string{instance, phone, "UNAVAILABLE", now.Add(-50 * time.Minute).Format(time.RFC3339)})
	}
	base := startWith(t, events...)
	tb := open(t, base, options{})
	check := func(where string) {
		t.Helper()
		if found := js[int](tb, `document.querySelectorAll("#bold, #italic, main script, main img, main b:not(.chip b)").length`); found > 0 {
			t.Errorf("%s: %d elements come from names", where, found)
		}
	}
	tb.visit("/")
	tb.until(`document.querySelectorAll(".now tbody tr").length === ` + jsonOf(len(phones)))
	check("now")
	for _, phone := range phones {
		if !js[bool](tb, `[...document.querySelectorAll(".now tbody th a bdi")].some((e) => e.textContent === `+jsonOf(phone)+`)`) {
			t.Errorf("now does not show %q as it is", phone)
		}
	}
	for _, phone := range phones {
		tb.visit(contactURL(instance, phone))
		tb.until(`document.querySelector(".who bdi").textContent === ` + jsonOf(phone) + ` && document.querySelector(".totals")`)
		js[bool](tb, `document.querySelectorAll("main details").forEach((d) => { d.open = true; }), true`)
		tb.until(`document.querySelector(".extra bdi")?.textContent.includes("<b>Ana</b>")`)
		check(phone)
		if wide := js[int](tb, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			t.Errorf("%q makes the page %d px too wide", phone, wide)
		}
	}
	// A browser would ask for another resource.
	tb.visit(contactURL(instance, ".."))
	tb.until(`document.querySelector(".view > .error").textContent.includes("There is no such contact") && document.querySelector(".sums .error")`)
	if asked := js[[]string](tb, `performance.getEntriesByType("resource").map((e) => new URL(e.name).pathname).filter((p) => p.startsWith("/v1/instances"))`); len(asked) > 0 {
		t.Errorf("for the contact .. the page asks for %q", asked)
	}
	tb.visit("/instance?" + url.Values{"instance": {instance}}.Encode())
	tb.until(`document.querySelectorAll(".top a").length === ` + jsonOf(len(phones)))
	check("instance")
	tb.visit(contactURL(instance, phones[:5]...))
	tb.until(`document.querySelectorAll("svg .track").length === 5`)
	check("side by side")
	if title := js[string](tb, `document.title`); !strings.Contains(title, "<script>") {
		t.Errorf("the title is %q", title)
	}
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestWrongTokenIsShown(t *testing.T) {
	base := start(t, func(c *app.Config) { c.WebhookTokens = []string{"right-token-of-the-test"} })
	tb := open(t, base, options{})
	tb.visit("/setup")
	tb.until(`document.querySelector(".arrived.no") && !document.querySelector(".field").hidden`)
	if status := post(t, base, "/webhooks/zapi/wrong", "i", "1", "COMPOSING"); status != http.StatusUnauthorized {
		t.Fatal(status)
	}
	tb.until(`document.querySelector(".arrived.refused") && document.querySelector(".note.bad").textContent.includes("1 request had a missing or wrong token.")`)
	if first := js[bool](tb, `document.querySelector(".note.bad").getBoundingClientRect().bottom < innerHeight / 2`); !first {
		t.Error("it is not seen at a glance")
	}
	tb.visit("/")
	tb.until(`document.querySelector(".empty .error")?.textContent.includes("none is accepted") && document.querySelector(".empty a").pathname === "/setup"`)
	tb.visit("/setup")
	tb.do(chromedp.SendKeys(chromedp.CSS(`#secret`), "right-token-of-the-test"))
	tb.until(`document.querySelector(".url").textContent.endsWith("/webhooks/zapi/right-token-of-the-test")`)
	address := js[string](tb, `document.querySelector(".url").textContent`)
	if status := post(t, address, "", "i", "1", "COMPOSING"); status != http.StatusOK {
		t.Fatal(status)
	}
	tb.until(`document.querySelector(".arrived.yes")`)
}

func TestSigningInAndOut(t *testing.T) {
	base := start(t, func(c *app.Config) { c.APITokens = []string{"reader-token-of-the-test"} })
	tb := open(t, base, options{})
	tb.expect("401 (Unauthorized)")
	tb.do(chromedp.Navigate(base + "/?show=typing"))
	tb.until(`document.activeElement?.id === "token"`)
	tb.do(chromedp.SendKeys(chromedp.CSS(`#token`), "wrong\r"))
	tb.until(`document.querySelector(".sign-in .error").textContent.includes("not accepted")`)
	js[bool](tb, `document.querySelector("#token").value = "", true`)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "COMPOSING")
	tb.do(chromedp.SendKeys(chromedp.CSS(`#token`), "reader-token-of-the-test\r"))
	tb.until(`document.querySelector(".now .is-composing") && location.search === "?show=typing"`)
	tb.until(`document.querySelector(".leave")`)
	// While the service does not end the session, the page does not say so.
	js[bool](tb, `window.asks = fetch, window.fetch = (at, how) => how?.method === "DELETE" ? Promise.resolve(new Response("", { status: 503 })) : asks(at, how), true`)
	tb.do(chromedp.Click(chromedp.CSS(`.settings summary`)), chromedp.Click(chromedp.CSS(`.leave`)))
	tb.until(`document.querySelector(".settings .error:not([hidden])")?.textContent.includes("could not respond") && document.querySelector(".now")`)
	js[bool](tb, `window.fetch = asks, true`)
	tb.do(chromedp.Click(chromedp.CSS(`.leave`)))
	tb.until(`document.querySelector(".sign-in") && !document.querySelector(".now")`)
	tb.do(chromedp.Reload())
	tb.until(`document.querySelector(".sign-in")`)
}

func TestHabitsAreDescribedInWords(t *testing.T) {
	var events [][4]string
	monday := time.Now().UTC().Truncate(24 * time.Hour)
	for monday.Weekday() != time.Monday {
		monday = monday.AddDate(0, 0, -1)
	}
	for day := range 28 {
		at := monday.AddDate(0, 0, -28+day)
		if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			continue
		}
		for hour := 9; hour < 11; hour++ {
			begin := at.Add(time.Duration(hour)*time.Hour + 20*time.Minute)
			events = append(events, [4]string{"i", "1", "AVAILABLE", begin.Format(time.RFC3339)}, [4]string{"i", "1", "UNAVAILABLE", begin.Add(3 * time.Minute).Format(time.RFC3339)})
		}
	}
	base := startWith(t, events...)
	query := "&from=" + monday.AddDate(0, 0, -28).Format(time.RFC3339) + "&to=" + monday.Format(time.RFC3339)
	tb := open(t, base, options{zone: "UTC"})
	tb.visit(contactURL("i", "1") + query)
	tb.until(`document.querySelector(".habit")?.textContent === "Usually in the chat on weekdays from 9 to 11 h."`)
	tb = open(t, base, options{zone: "UTC", language: "pt-BR"})
	tb.visit(contactURL("i", "1") + query)
	tb.until(`document.querySelector(".habit")?.textContent === "Costuma estar na conversa em dias úteis das 9 às 11 h."`)
}
