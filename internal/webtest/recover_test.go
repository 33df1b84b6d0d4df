//go:build browser

package webtest

import (
	"log/slog"
	"testing"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestPageRecoversWhenTheServiceDoes(t *testing.T) {
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
	second := run(first.Addr.String())
	t.Cleanup(second.Stop)
	post(t, base, "/webhooks/zapi", "i", "5544999999999", "COMPOSING")
	tb.until(`document.querySelector(".error").hidden && document.querySelector(".now .is-composing")`)
}

// A row under the pointer stays where it is, whatever the others do, so that nobody clicks another than the one they aim at.
func TestRowsUnderThePointerStay(t *testing.T) {
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
	js[bool](tb, `document.querySelector(".now tbody th a").focus(), true`)
	post(t, base, "/webhooks/zapi", "i", other, "COMPOSING")
	tb.until(`document.querySelector(".now .is-composing")`)
	js[bool](tb, `new Promise((done) => setTimeout(() => done(true), 6000))`) // longer than the page takes to read again
	if now := js[string](tb, first); now != was {
		t.Errorf("the first row became %s under the focus on %s", now, was)
	}
	js[bool](tb, `document.activeElement.blur(), true`)
	tb.until(first + ` === ` + jsonOf(other))
}
