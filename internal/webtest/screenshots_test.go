//go:build browser

package webtest

import (
	"bytes"
	"flag"
	"image"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/demo"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

var screenshotDir = flag.String("screenshots", "", "where to write the screenshots; by default they are only checked")

// startDemo starts what serve --demo serves.
func startDemo(t *testing.T) string {
	t.Helper()
	now := presence.Now()
	var database string
	base := start(t, func(c *app.Config) {
		c.Demo, database = true, c.Database
		pool, err := postgres.Connect(t.Context(), database, "test", 2)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		if err := demo.Fill(t.Context(), pool, now); err != nil {
			t.Fatal(err)
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := demo.Play(t.Context(), base+"/webhooks/zapi", "", now); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { <-ended })
	return base
}

type view struct {
	name, path string
	ready      string // true once it shows what it is to show
}

// demoViews returns every view of the demo's data.
func demoViews(tb *tab) []view {
	tb.t.Helper()
	tb.visit("/")
	tb.until(`document.querySelectorAll(".now tbody tr").length > 20`)
	instance := js[string](tb, `document.querySelector(".now .instance a").title`)
	from := time.Now().AddDate(0, 0, -30).UTC().Format(time.RFC3339)
	top := js[[]string](tb, `fetch("/v1/instances/`+instance+`/top?limit=3&from=`+from+`")
		.then((r) => r.json()).then((b) => b.contacts.map((c) => c.phone))`)
	const drawn = `[...document.querySelectorAll(".sure")].some((p) => p.getAttribute("d"))`
	one := url.Values{"instance": {instance}, "phone": top[:1], "last": {"24h"}}
	several := url.Values{"instance": {instance}, "phone": top, "last": {"24h"}}
	return []view{
		{"now", "/", `document.querySelectorAll(".now tbody tr").length > 20`},
		{"contact", "/contact?" + one.Encode(), drawn + ` && document.querySelector(".bars") && document.querySelector(".habit")`},
		{"contacts", "/contact?" + several.Encode(), drawn + ` && document.querySelector(".totals .group")`},
		{"instances", "/instances", `document.querySelector("tbody a")`},
		{"instance", "/instance?" + url.Values{"instance": {instance}}.Encode(), `document.querySelector(".week") && document.querySelector(".top a")`},
		{"status", "/status", `document.querySelector(".facts dd")`},
		{"setup", "/setup", `document.querySelector(".arrived.yes")`},
	}
}

// TestScreenshots takes a picture of each view in both themes, and of a phone's width. A picture must have its size and
// show something.
func TestScreenshots(t *testing.T) {
	base := startDemo(t)
	views := demoViews(open(t, base, options{}))
	for _, look := range []struct {
		suffix string
		options
	}{
		{"", options{width: 1280, height: 860}},
		{"-dark", options{width: 1280, height: 860, dark: true}},
		{"-phone", options{width: 390, height: 844, touch: true, language: "pt-BR"}},
	} {
		tb := open(t, base, look.options)
		for _, view := range views {
			tb.visit(view.path)
			tb.until(view.ready)
			tb.do(chromedp.Sleep(400 * time.Millisecond)) // for the next frame
			checkImage(t, view.name+look.suffix, tb.capture(), int(look.width), int(look.height))
		}
	}
}

// capture takes a picture of the visible part.
func (tb *tab) capture() []byte {
	tb.t.Helper()
	shot, err := chromedp.Run(tb.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		tb.t.Fatal(err)
	}
	return shot
}

func checkImage(t *testing.T, name string, shot []byte, width, height int) {
	t.Helper()
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	if size := picture.Bounds().Size(); size != (image.Point{X: width, Y: height}) {
		t.Errorf("%s is %v large, want %d×%d", name, size, width, height)
	}
	colours := map[[3]uint32]bool{}
	for x := 0; x < width; x += 3 {
		for y := 0; y < height; y += 3 {
			r, g, b, _ := picture.At(x, y).RGBA()
			colours[[3]uint32{r >> 10, g >> 10, b >> 10}] = true
		}
	}
	if len(colours) < 25 {
		t.Errorf("%s shows %d colours: there is hardly anything on it", name, len(colours))
	}
	if *screenshotDir != "" {
		if err := os.WriteFile(filepath.Join(*screenshotDir, name+".png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
