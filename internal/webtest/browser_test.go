//go:build browser

package webtest

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/presencelog/presencelog/internal/app"
	"github.com/presencelog/presencelog/internal/pgtest"
)

var chromium string

// pageTimeout is the limit for anything on the page, on a busy machine.
const pageTimeout = 30 * time.Second

func TestMain(m *testing.M) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			chromium = path
			break
		}
	}
	if chromium == "" {
		fmt.Fprintln(os.Stderr, "these tests need Chromium: apt-get install chromium")
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

// start starts a service, by default one that needs no tokens, and returns its address.
func start(t testing.TB, change ...func(*app.Config)) string {
	t.Helper()
	config := app.Config{
		Listen: "127.0.0.1:0", Database: pgtest.URL(t), Version: "v1.2.3", Streams: 100, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		AwayAfter: 20 * time.Second, // a busy machine may stop for some seconds while the database is up
	}
	for _, f := range change {
		f(&config)
	}
	a, err := app.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	return "http://" + a.Addr.String()
}

// tab is a page in its own browser, without data of other tests. At the test's end it must have logged no error and asked no
// other host.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string

	mu      sync.Mutex
	errors  []string
	expects []string // parts of messages that are no failure
}

// options are how the browser differs from a plain one.
type options struct {
	width, height int64
	language      string
	dark          bool
	touch         bool
	zone          string
}

func open(t testing.TB, base string, o options) *tab {
	t.Helper()
	if o.width == 0 {
		o.width, o.height = 1280, 900
	}
	if o.language == "" {
		o.language = "en-US"
	}
	if o.zone == "" {
		o.zone = "America/Sao_Paulo"
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(pgtest.Timeout), // for the browser to start
		chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("lang", o.language), chromedp.Flag("accept-lang", o.language))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), flags...)
	ctx, closeTab := chromedp.NewContext(allocator, chromedp.WithErrorf(t.Logf))
	tb := &tab{t: t, ctx: ctx, base: base}
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser to end
		closeTab()
		stop()
		tb.check()
	})
	if err := chromedp.Listen(ctx, tb.listen); err != nil {
		t.Fatal(err)
	}
	theme := "light"
	if o.dark {
		theme = "dark"
	}
	call(tb, network.Enable, network.EnableParams{})
	call(tb, log.Enable, cdp.Empty{})
	call(tb, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: o.width, Height: o.height, DeviceScaleFactor: 1, Mobile: o.touch,
	})
	call(tb, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: o.touch, MaxTouchPoints: 5})
	call(tb, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: o.zone})
	call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
	})
	return tb
}

// call sends a command of the DevTools protocol.
func call[P, R any](tb *tab, command cdp.Command[P, R], params P) R {
	tb.t.Helper()
	result, err := chromedp.Call(tb.ctx, command, params)
	if err != nil {
		tb.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

func (tb *tab) listen(event any) {
	message := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		message = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			message += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			for _, arg := range e.Args {
				message += string(arg.Value) + arg.Description + " "
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			message = e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && u.Scheme != "about" && "http://"+u.Host != tb.base {
			message = "a request to another host: " + e.Request.URL
		}
	}
	if message != "" {
		tb.mu.Lock()
		defer tb.mu.Unlock()
		tb.errors = append(tb.errors, message)
	}
}

// expect names a part of messages that are no failure in this test.
func (tb *tab) expect(part string) { tb.expects = append(tb.expects, part) }

func (tb *tab) check() {
	tb.mu.Lock()
	defer tb.mu.Unlock()
messages:
	for _, message := range tb.errors {
		for _, part := range tb.expects {
			if strings.Contains(message, part) {
				continue messages
			}
		}
		tb.t.Errorf("the browser reports: %s", message)
	}
}

// do runs actions.
func (tb *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, pageTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tb.t.Fatalf("%v\nthe page shows:\n%s", err, js[string](tb, "document.body.innerText"))
	}
}

// visit opens an address of the page and waits until its view is there.
func (tb *tab) visit(path string) {
	tb.t.Helper()
	tb.do(chromedp.Navigate(tb.base + path))
	tb.until(`document.querySelector("main > .view, main > form")`)
}

// js evaluates an expression, or a promise.
func js[T any](tb *tab, expression string) T {
	tb.t.Helper()
	value, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// until waits until an expression is true. An error, as while another document is being loaded, is not true.
func (tb *tab) until(expression string) {
	tb.t.Helper()
	for deadline := time.Now().Add(pageTimeout); ; time.Sleep(20 * time.Millisecond) {
		is, err := chromedp.Run(tb.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if is && err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.t.Fatalf("it never became true: %s (%v)\nthe page shows:\n%s", expression, err, js[string](tb, "document.body.innerText"))
		}
	}
}
