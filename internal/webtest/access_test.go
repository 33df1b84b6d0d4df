//go:build browser

package webtest

import (
	"net/url"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/postgres"
)

func TestTokenForOneInstanceShowsThatInstance(t *testing.T) {
	var token string
	base := start(t, func(c *app.Config) {
		pool, err := postgres.Connect(t.Context(), c.Database, "test", 2)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		token, err = auth.Create(t.Context(), pool, auth.Token{Name: "mine-only", Scopes: []auth.Scope{auth.Read, auth.Live}, Instances: []string{"mine"}})
		if err != nil {
			t.Fatal(err)
		}
		c.APITokens = []string{"another-token-of-the-test"}
		load(t, c.Database, [4]string{"mine", "5544999999991", "AVAILABLE", instant}, [4]string{"theirs", "5544999999992", "AVAILABLE", instant})
	})
	tb := open(t, base, options{})
	tb.expect("401 (Unauthorized)")
	tb.expect("404 (Not Found)")
	tb.do(chromedp.Navigate(base + "/"))
	tb.until(`document.querySelector("#token")`)
	tb.do(chromedp.SendKeys(chromedp.CSS(`#token`), token+"\r"))
	tb.until(`document.querySelectorAll(".now tbody tr").length === 1 && document.querySelectorAll("#instance option").length === 2`)
	post(t, base, "/webhooks/zapi", "theirs", "5544999999992", "COMPOSING")
	post(t, base, "/webhooks/zapi", "mine", "5544999999991", "COMPOSING")
	tb.until(`document.querySelector(".now .is-composing")`)
	if found := js[string](tb, `document.body.innerText`); found == "" || js[bool](tb, `document.body.innerText.includes("99999-9992")`) {
		t.Error("another instance's contact is shown")
	}
	tb.visit(contactURL("theirs", "5544999999992"))
	tb.until(`document.querySelector(".view > .error").textContent.includes("There is no such contact")`)
	tb.visit("/instances")
	tb.until(`document.querySelectorAll("tbody tr").length === 1`)
	tb.visit("/status") // without the counts of all instances
	tb.until(`document.querySelector(".facts dd") && !document.querySelector(".facts").textContent.includes("Events")`)
}

func TestKeyboardAloneReachesEverything(t *testing.T) {
	base := startWith(t, [4]string{"i", "5544999999999", "AVAILABLE", instant})
	tb := open(t, base, options{})
	tb.visit("/")
	tb.until(`document.querySelector(".now tbody a")`)
	// tabTo presses Tab until an element has the focus, which must be seen.
	tabTo := func(selector string) {
		t.Helper()
		for range 60 {
			tb.do(chromedp.KeyEvent(kb.Tab))
			if js[bool](tb, `document.activeElement.matches(`+jsonOf(selector)+`)`) {
				if style := js[string](tb, `getComputedStyle(document.activeElement).outlineStyle`); style == "none" {
					t.Errorf("the focus on %s is not seen", selector)
				}
				return
			}
		}
		t.Fatalf("Tab does not reach %s", selector)
	}
	tabTo(".skip")
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.until(`document.activeElement.id === "main"`)
	tabTo(".pause")
	tabTo(".chip.typing")
	tabTo("#search")
	tabTo(".now tbody th a")
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.until(`location.pathname === "/contact" && document.activeElement.id === "main" && document.querySelector(".totals")`)
	tabTo(".crumb a")
	tabTo(`[data-value="7d"]`)
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.until(`location.search.includes("last=7d")`)
	if still := js[bool](tb, `document.activeElement.matches('[data-value="7d"]')`); !still {
		t.Error("choosing a range loses the focus")
	}
	tabTo(".plot")
	tabTo("details.spans summary")
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.until(`document.querySelector("details.spans").open`)
	tabTo(".downloads a")
	tb.visit("/")
	tabTo(".settings summary")
	tb.do(chromedp.KeyEvent(kb.Enter))
	tb.until(`document.querySelector(".settings").open`)
	tb.do(chromedp.KeyEvent(kb.Escape))
	tb.until(`!document.querySelector(".settings").open && document.activeElement.matches(".settings summary")`)
}

func TestPortugueseByTheBrowserAndByChoice(t *testing.T) {
	base := startWith(t, [4]string{"i", "5544999999999", "AVAILABLE", instant})
	tb := open(t, base, options{language: "pt-BR"})
	tb.visit("/")
	tb.until(`document.documentElement.lang === "pt-BR" && document.querySelector("h1").textContent === "Neste momento"`)
	tb.until(`document.querySelector(".now .is-unavailable")?.textContent.includes("Ausente")`)
	js[bool](tb, `document.querySelector(".settings").open = true, document.querySelectorAll(".settings select")[1].value = "en", document.querySelectorAll(".settings select")[1].dispatchEvent(new Event("change")), true`)
	tb.until(`document.documentElement.lang === "en" && document.querySelector("h1")?.textContent === "Right now"`)
	tb.visit("/setup")
	tb.until(`document.querySelector("h1").textContent === "Connect a gateway"`)
}

func TestThemeAndTimeZoneByChoice(t *testing.T) {
	base := startWith(t, [4]string{"i", "5544999999999", "AVAILABLE", instant})
	tb := open(t, base, options{dark: true, zone: "UTC"})
	ground := func() string { return js[string](tb, `getComputedStyle(document.documentElement).backgroundColor`) }
	tb.visit("/instances")
	tb.until(`document.querySelector("tbody td").textContent === "Thu, Oct 1, 2026, 10:00:00"`)
	dark := ground()
	choose := func(n, value string) {
		js[bool](tb, `(() => { const s = document.querySelectorAll(".settings select")[`+n+`]; s.value = "`+value+`"; s.dispatchEvent(new Event("change")); return true; })()`)
	}
	choose("2", "light")
	light := ground()
	if light == dark {
		t.Errorf("both themes have the ground %s", light)
	}
	choose("0", "America/Sao_Paulo")
	tb.until(`document.querySelector("tbody td").textContent === "Thu, Oct 1, 2026, 07:00:00"`)
	tb.visit("/instances") // and that is kept
	tb.until(`document.querySelector("tbody td").textContent === "Thu, Oct 1, 2026, 07:00:00"`)
	if ground() != light {
		t.Error("the theme is not kept")
	}
	tb.visit("/setup")
	tb.until(`document.querySelector(".arrived.before")?.textContent === "The last event arrived at Thu, Oct 1, 2026, 07:00:00. Nothing has arrived since."`)
}

func TestPhoneWidthNeedsNoSidewaysScrolling(t *testing.T) {
	base := startDemo(t)
	views := demoViews(open(t, base, options{}))
	for _, width := range []int64{390, 320} {
		tb := open(t, base, options{width: width, height: 844, touch: true, language: "pt-BR"})
		for _, view := range views {
			tb.visit(view.path)
			tb.until(view.ready)
			if wide := js[int](tb, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
				t.Errorf("%s is %d px too wide for %d px", view.name, wide, width)
			}
		}
	}
}

func TestReducedMotionIsRespected(t *testing.T) {
	base := start(t)
	tb := open(t, base, options{})
	call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "COMPOSING")
	tb.visit("/")
	tb.until(`document.querySelector(".mark-composing i")`)
	if n := js[int](tb, `document.getAnimations().length`); n > 0 {
		t.Errorf("%d animations run", n)
	}
}

func TestSideBySideAddsAndRemovesContacts(t *testing.T) {
	base := startWith(t, [4]string{"i", "1", "AVAILABLE", instant}, [4]string{"i", "5544999999992", "AVAILABLE", instant}, [4]string{"i", "3", "AVAILABLE", instant})
	tb := open(t, base, options{})
	tb.visit(contactURL("i", "1"))
	tb.until(`document.querySelector("#compare")`)
	tb.do(chromedp.SendKeys(chromedp.CSS(`#compare`), "+55 44 99999-9992"))
	tb.until(`document.querySelector("#found option")?.value === "5544999999992"`)
	tb.do(chromedp.SendKeys(chromedp.CSS(`#compare`), "\r"))
	tb.until(`document.querySelectorAll("svg .track").length === 2 && document.querySelectorAll(".totals .group").length === 2`)
	if got, want := js[string](tb, `location.search`), "?"+(url.Values{"instance": {"i"}, "phone": {"1", "5544999999992"}}).Encode(); got != want {
		t.Errorf("the address has %s, want %s", got, want)
	}
	tb.do(chromedp.Click(chromedp.CSS(`.who .remove`)))
	tb.until(`document.querySelectorAll("svg .track").length === 0 && document.querySelector(".who bdi").title === "5544999999992"`)
}
