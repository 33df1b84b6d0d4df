//go:build browser

package webtest

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestPageRecoversWhenTheServiceDoes(t *testing.T) {
	t.Parallel()
	database := pgtest.URL(t)
	run := func(listen string) *app.App {
		t.Helper()
		a, err := app.Start(t.Context(), app.Config{
			Listen: listen, Database: database, Streams: 100, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first := run("127.0.0.1:0")
	base := "http://" + first.Addr.String()
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "AVAILABLE")
	tb := open(t, base, options{})
	tb.expect("ERR_") // of the connection, as often as the page tries
	tb.visit("/")
	tb.until(`document.querySelector(".now .is-available")`)
	first.Stop()
	tb.until(`!document.querySelector(".error").hidden && document.querySelector(".error").textContent.includes("does not respond")`)
	if !js[bool](tb, `Boolean(document.querySelector(".now .is-available"))`) {
		t.Error("what was known is gone")
	}
	tb.do(chromedp.Click(chromedp.CSS(`.now tbody th a`)))
	tb.until(`location.pathname === "/contact" && !document.querySelector(".view > .error").hidden && document.querySelector(".sums .error")`)
	second := run(first.Addr.String())
	t.Cleanup(second.Stop)
	tb.until(`document.querySelector(".view > .error").hidden && ` + drawn)
	tb.until(`document.querySelector(".totals") && document.querySelector(".now-line-text .status")`)
	tb.do(chromedp.NavigateBack())
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "COMPOSING")
	tb.until(`document.querySelector(".error").hidden && document.querySelector(".now .is-composing")`)
}

// A row under the pointer or with the focus stays where it is while the reader may click it, whatever the others do.
func TestRowsUnderThePointerStay(t *testing.T) {
	t.Parallel()
	base := start(t)
	for _, phone := range []string{"5544999999991", "5544999999992"} {
		post(t, base, "/webhooks/zapi", "i", phone, "AVAILABLE")
	}
	tb := open(t, base, options{})
	tb.visit("/")
	tb.until(`document.querySelectorAll(".now tbody tr").length === 2`)
	first := `document.querySelector(".now tbody th a").title`
	was := js[string](tb, first)
	other := map[string]string{"5544999999991": "5544999999992", "5544999999992": "5544999999991"}[was]
	js[bool](tb, `(() => {
		const link = document.querySelector(".now tbody th a");
		link.focus();
		window.moving = setInterval(() => link.dispatchEvent(new PointerEvent("pointermove", { bubbles: true })), 100);
		return true;
	})()`)
	post(t, base, "/webhooks/zapi", "i", other, "COMPOSING")
	tb.until(`document.querySelector(".now .is-composing")`)
	const reads = `performance.getEntriesByType("resource").filter((e) => e.name.includes("/v1/now")).length`
	before := js[int](tb, reads)
	tb.until(reads + ` > ` + jsonOf(before+1))
	if now := js[string](tb, first); now != was {
		t.Errorf("the first row became %s under the focus on %s", now, was)
	}
	// The focus alone holds rows for a while only, and goes with its row.
	js[bool](tb, `clearInterval(window.moving), true`)
	tb.until(first + ` === ` + jsonOf(other))
	if focused := js[string](tb, `document.activeElement.title ?? ""`); focused != was {
		t.Errorf("the focus went from %s to %q", was, focused)
	}
}

// Views are drawn again every few seconds; buttons and links keep the focus.
func TestFocusStaysWhileViewsAreRefreshed(t *testing.T) {
	t.Parallel()
	var events [][4]string
	for i := range 101 { // more than a page
		events = append(events, [4]string{"i", fmt.Sprint(5544900000000 + i), "UNAVAILABLE", instant})
	}
	tb := open(t, startWith(t, events...), options{})
	for _, c := range []struct{ path, reads, element string }{
		{"/", "/v1/now", ".pages button:not([hidden])"}, {"/?search=nobody", "/v1/now", ".empty a"}, {"/status", "/v1/status", "tbody a"},
	} {
		tb.visit(c.path)
		tb.until(`document.querySelector(` + jsonOf(c.element) + `)`)
		js[bool](tb, `document.querySelector(`+jsonOf(c.element)+`).focus(), true`)
		reads := `performance.getEntriesByType("resource").filter((e) => e.name.includes(` + jsonOf(c.reads) + `)).length`
		tb.until(reads + ` > ` + jsonOf(js[int](tb, reads)+1))
		if !js[bool](tb, `document.activeElement.matches(`+jsonOf(c.element)+`)`) {
			t.Errorf("%s: %s loses the focus", c.path, c.element)
		}
	}
}

// A page that was hidden shows what has happened meanwhile, also before its clock has moved the range to now.
func TestHiddenTimelineCatchesUp(t *testing.T) {
	t.Parallel()
	base := start(t)
	post(t, base, "/webhooks/zapi", "i", "1", "AVAILABLE")
	tb := open(t, base, options{})
	tb.visit(contactURL("i", "1") + "&last=1h")
	js[bool](tb, `document.querySelector("details.spans").open = true`)
	tb.until(`document.querySelector("details.spans tbody")?.textContent.includes("still running")`)
	js[bool](tb, `(() => {
		window.hide = (is) => {
			Object.defineProperty(document, "hidden", { value: is, configurable: true });
			document.dispatchEvent(new Event("visibilitychange"));
		};
		hide(true);
		const now = Date.now;
		Date.now = () => now() + 120_000;
		return true;
	})()`)
	post(t, base, "/webhooks/zapi", "i", "1", "UNAVAILABLE")
	js[bool](tb, `hide(false), Object.defineProperty(document, "hidden", { value: true }), true`) // the clock does not tick
	tb.until(`document.querySelector("details.spans tbody").textContent.includes("ended by an event")`)
}

func TestRowsChangeAfterAClickOnAColumn(t *testing.T) {
	t.Parallel()
	base := start(t)
	post(t, base, "/webhooks/zapi", "i", "1", "COMPOSING")
	tb := open(t, base, options{})
	tb.visit("/?show=typing")
	tb.until(`document.querySelectorAll(".now tbody tr").length === 1`)
	tb.do(chromedp.Click(chromedp.CSS(`th[data-sort=phone] button`)))
	tb.until(`document.querySelector("th[data-sort=phone][aria-sort]") && document.activeElement.matches("th button")`)
	post(t, base, "/webhooks/zapi", "i", "2", "COMPOSING")
	tb.until(`document.querySelectorAll(".now tbody tr").length === 2`)
	post(t, base, "/webhooks/zapi", "i", "1", "UNAVAILABLE")
	tb.until(`document.querySelectorAll(".now tbody tr").length === 1 && document.querySelector(".now tbody th a").title === "2"`)
}
