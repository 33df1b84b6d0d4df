//go:build browser

package webtest

import (
	"math"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	clock   = "2006-01-02T15:04:05Z"
	instant = "2026-10-01T10:00:00Z"
)

// rangeShown returns the range in the address.
func (tb *tab) rangeShown() (from, to time.Time) {
	tb.t.Helper()
	ends := js[[]string](tb, `["from", "to"].map((n) => new URLSearchParams(location.search).get(n) ?? "")`)
	from, err := time.Parse(clock, ends[0])
	if err != nil {
		tb.t.Fatal(err)
	}
	if to, err = time.Parse(clock, ends[1]); err != nil {
		tb.t.Fatal(err)
	}
	return from, to
}

// moved waits until the address has another range than before, and returns it.
func (tb *tab) moved(do func()) (from, to time.Time) {
	tb.t.Helper()
	before := js[string](tb, `location.search`)
	do()
	tb.until(`location.search !== ` + jsonOf(before))
	time.Sleep(400 * time.Millisecond) // longer than a move takes to settle
	return tb.rangeShown()
}

func length(from, to time.Time) time.Duration { return to.Sub(from) }

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if math.Abs(float64(got-want)) > 0.03*math.Abs(float64(want))+float64(2*time.Second) {
		t.Errorf("%s: %s, want about %s", what, got, want)
	}
}

// timelineOf opens the timeline of a contact that typed for 35 s, of which 10 s are confirmed, and was in the chat for 7 min.
func timelineOf(t *testing.T, o options, query string) *tab {
	t.Helper()
	base := startWith(t,
		[4]string{"i", "1", "COMPOSING", instant}, [4]string{"i", "1", "COMPOSING", "2026-10-01T10:00:10Z"},
		[4]string{"i", "1", "AVAILABLE", "2026-10-01T10:02:00Z"}, [4]string{"i", "2", "UNAVAILABLE", "2026-09-30T00:00:00Z"})
	o.zone = "UTC"
	tb := open(t, base, o)
	tb.visit(contactURL("i", "1") + query)
	tb.until(`[...document.querySelectorAll("path.sure")].some((p) => p.getAttribute("d"))`)
	return tb
}

const hour = "&from=2026-10-01T09:30:00Z&to=2026-10-01T10:30:00Z"

func (tb *tab) box() (x, y, width float64) {
	box := js[[]float64](tb, `(() => { const b = document.querySelector(".plot").getBoundingClientRect(); return [b.left + (b.width >= 640 ? 96 : 0), b.top + 40, b.width - (b.width >= 640 ? 96 : 0)]; })()`)
	return box[0], box[1], box[2]
}

func TestTimelineDrawsConfirmedAndUnknown(t *testing.T) {
	tb := timelineOf(t, options{}, hour)
	// Unknown before the first event: half of the hour.
	x, _, width := tb.box()
	unknown := js[[]float64](tb, `(() => { const b = document.querySelector("path.unknown").getBoundingClientRect(); return [b.left, b.width]; })()`)
	if math.Abs(unknown[0]-x) > 1 || math.Abs(unknown[1]-width/2) > 1 {
		t.Errorf("unknown is drawn from %.1f, %.1f wide; the lane begins at %.1f and is %.1f wide", unknown[0], unknown[1], x, width)
	}
	widths := func(measure string) (sure, unsure float64) {
		w := js[[]float64](tb, `["sure", "unsure"].map((c) => document.querySelector("path." + c + ".`+measure+`").getBBox().width)`)
		return w[0], w[1]
	}
	perSecond := width / 3600
	for measure, want := range map[string][2]float64{"typing": {10, 25}, "inChat": {120, 300}} {
		sure, unsure := widths(measure)
		if math.Abs(sure-want[0]*perSecond) > 0.5 || math.Abs(unsure-want[1]*perSecond) > 0.5 {
			t.Errorf("%s: %.1f px solid and %.1f px lighter, want %.1f and %.1f", measure, sure, unsure, want[0]*perSecond, want[1]*perSecond)
		}
	}
	// In a year it is less than a pixel wide: it is drawn, but neither wider than a pixel nor as high as if it took all of it.
	tb.visit(contactURL("i", "1") + "&from=2026-01-01T00:00:00Z&to=2026-11-01T00:00:00Z")
	tb.until(`document.querySelector("path.unsure.typing")?.getAttribute("d")`)
	size := js[[]float64](tb, `(() => { const a = document.querySelector("path.sure.typing").getBBox(), b = document.querySelector("path.unsure.typing").getBBox(); return [b.width, a.height + b.height]; })()`)
	if size[0] != 1 || size[1] < 3 || size[1] > 8 {
		t.Errorf("in ten months, 35 s are %.1f px wide and %.1f px high", size[0], size[1])
	}
}

func TestTimelineByKeys(t *testing.T) {
	tb := timelineOf(t, options{}, hour)
	tb.do(chromedp.Focus(chromedp.CSS(`.plot`)))
	from, to := tb.moved(func() { tb.do(chromedp.KeyEvent("+")) })
	near(t, "after +", length(from, to), 30*time.Minute)
	from, to = tb.moved(func() { tb.do(chromedp.KeyEvent("-")) })
	near(t, "after -", length(from, to), time.Hour)
	later, _ := tb.moved(func() { tb.do(chromedp.KeyEvent(kb.ArrowRight)) })
	near(t, "after the right arrow", later.Sub(from), 12*time.Minute)
	back, _ := tb.moved(func() { tb.do(chromedp.KeyEvent(kb.ArrowLeft)) })
	near(t, "after the left arrow", back.Sub(from), 0)
	tb.do(chromedp.KeyEvent("n"))
	tb.until(`!document.querySelector(".tip").hidden && document.querySelector(".tip").textContent.includes("10:00:00")`)
	tb.until(`document.querySelector("#announcer").textContent.startsWith("In chat, ")`)
	// The next one follows it, also after both have been loaded again.
	tb.moved(func() { tb.do(chromedp.KeyEvent("+")) })
	tb.moved(func() { tb.do(chromedp.KeyEvent("+")) })
	tb.do(chromedp.KeyEvent("n"))
	tb.until(`document.querySelector("#announcer").textContent.startsWith("Typing, ")`)
	for range 20 {
		tb.do(chromedp.KeyEvent("+"))
		time.Sleep(30 * time.Millisecond)
	}
	time.Sleep(time.Second)
	from, to = tb.rangeShown()
	near(t, "as close as it gets", length(from, to), time.Minute)
}

func TestTimelineByMouse(t *testing.T) {
	tb := timelineOf(t, options{}, hour)
	x, y, width := tb.box()
	from, _ := tb.rangeShown()
	mouse := func(kind input.DispatchMouseEventType, x float64, more ...func(*input.DispatchMouseEventParams)) {
		p := input.DispatchMouseEventParams{Type: kind, X: x, Y: y, Button: input.MouseButtonLeft, ClickCount: 1}
		for _, f := range more {
			f(&p)
		}
		call(tb, input.DispatchMouseEvent, p)
	}
	mouse(input.DispatchMouseEventTypeMouseMoved, x+width*0.51, func(p *input.DispatchMouseEventParams) { p.Button = "none" })
	tb.until(`document.querySelector(".tip").textContent.includes("In chat 7 min")`)
	now, _ := tb.moved(func() {
		mouse(input.DispatchMouseEventTypeMousePressed, x+width*0.75)
		for i := range 6 {
			mouse(input.DispatchMouseEventTypeMouseMoved, x+width*(0.75-0.05*float64(i)), func(p *input.DispatchMouseEventParams) { p.Buttons = 1 })
		}
		mouse(input.DispatchMouseEventTypeMouseReleased, x+width*0.5)
	})
	near(t, "dragged by a quarter", now.Sub(from), 15*time.Minute)
	// The wheel zooms around the pointer, now that the timeline has the focus.
	pointer := now.Add(30 * time.Minute)
	from, to := tb.moved(func() {
		mouse(input.DispatchMouseEventTypeMouseWheel, x+width*0.5, func(p *input.DispatchMouseEventParams) { p.DeltaX, p.DeltaY, p.Button = 0.001, -100, "none" })
	})
	near(t, "after the wheel", length(from, to), 2413*time.Second)
	near(t, "the middle stays", from.Add(length(from, to)/2).Sub(pointer), 0)
	before := from
	from, _ = tb.moved(func() {
		mouse(input.DispatchMouseEventTypeMouseWheel, x+width*0.5, func(p *input.DispatchMouseEventParams) { p.DeltaX, p.DeltaY, p.Button = 200, 0.001, "none" })
	})
	if !from.After(before) {
		t.Errorf("a wheel to the right goes from %s to %s", before, from)
	}
	from, to = tb.moved(func() { tb.do(chromedp.Click(chromedp.CSS(`[aria-label="Zoom out"]`))) })
	near(t, "after the button", length(from, to), 4826*time.Second)
}

func TestTimelineByTouch(t *testing.T) {
	tb := timelineOf(t, options{width: 390, height: 844, touch: true}, hour)
	x, y, width := tb.box()
	touch := func(kind input.DispatchTouchEventType, xs ...float64) {
		points := []*input.TouchPoint{}
		for i, at := range xs {
			id := float64(i)
			points = append(points, &input.TouchPoint{X: at, Y: y, ID: &id})
		}
		call(tb, input.DispatchTouchEvent, input.DispatchTouchEventParams{Type: kind, TouchPoints: points})
	}
	from, to := tb.moved(func() {
		touch(input.DispatchTouchEventTypeTouchStart, x+width*0.4, x+width*0.6)
		for i := range 5 {
			d := 0.1 + 0.05*float64(i+1)
			touch(input.DispatchTouchEventTypeTouchMove, x+width*(0.5-d), x+width*(0.5+d))
		}
		touch(input.DispatchTouchEventTypeTouchEnd)
	})
	near(t, "pinched from 0.2 to 0.7 of the width", length(from, to), time.Hour*2/7)
	before := from
	from, to = tb.moved(func() {
		touch(input.DispatchTouchEventTypeTouchStart, x+width*0.7)
		for i := range 5 {
			touch(input.DispatchTouchEventTypeTouchMove, x+width*(0.7-0.1*float64(i)))
		}
		touch(input.DispatchTouchEventTypeTouchEnd)
	})
	if moved := from.Sub(before); moved < length(from, to)/5 || moved > length(from, to)/2 {
		t.Errorf("a finger moved by 0.4 of the width moves the time by %s of %s", moved, length(from, to))
	}
}

func TestRangeLinksShowTheSameRange(t *testing.T) {
	tb := timelineOf(t, options{}, hour)
	tb.until(`document.querySelector(".range-text").textContent === "Oct 1, 2026, 09:30 – 10:30"`)
	tb.visit(contactURL("i", "1") + hour + "&tz=America/Sao_Paulo")
	tb.until(`document.querySelector(".range-text").textContent === "Oct 1, 2026, 06:30 – 07:30"`)
	// Steps between addresses of different time zones change all times, and the choice in the header.
	shows := func(text, zone string) {
		t.Helper()
		tb.until(`document.querySelector(".range-text").textContent === ` + jsonOf("Oct 1, 2026, "+text) + ` &&
			document.querySelector(".settings select").value === ` + jsonOf(zone) + ` && ` + drawn)
	}
	js[bool](tb, `history.pushState(null, "", location.href.replace("America/Sao_Paulo", "UTC")), dispatchEvent(new PopStateEvent("popstate"))`)
	shows("09:30 – 10:30", "UTC")
	tb.do(chromedp.NavigateBack())
	shows("06:30 – 07:30", "America/Sao_Paulo")
	js[bool](tb, `document.querySelector(".custom").open = true`)
	tb.do(chromedp.Click(chromedp.CSS(`.custom .primary`)))
	tb.until(`location.search.includes("from=2026-10-01T09%3A30%3A00Z")`)
	// The same spans as a table: focus marks them in the picture.
	tb.do(chromedp.Click(chromedp.CSS(`details.spans summary`)))
	tb.until(`document.querySelectorAll("details.spans tbody tr").length === 2`)
	js[bool](tb, `document.querySelector("details.spans tbody tr").focus(), true`) // in one step: a response may replace the row
	tb.until(`document.querySelector(".chosen")`)
}

// The picture has the range of the address, also what is longer than moves reach, and what is not over yet.
func TestTimelineShowsAllOfItsRange(t *testing.T) {
	tb := timelineOf(t, options{}, "&from=2024-01-01T00:00:00Z&to=2026-11-01T00:00:00Z")
	share := func(x string) float64 {
		left, _, width := tb.box()
		return (js[float64](tb, x) - left) / width
	}
	// Unknown until the first event.
	if got := share(`document.querySelector("path.unknown").getBoundingClientRect().right`); math.Abs(got-0.970) > 0.005 {
		t.Errorf("the first event is at %.3f of almost three years, want 0.970", got)
	}
	tb.until(`document.querySelector(".range-text").textContent === "Jan 1, 2024 – Nov 1, 2026"`)
	now := time.Now().UTC()
	query := url.Values{"from": {now.Add(-6 * time.Hour).Format(time.RFC3339)}, "to": {now.Add(18 * time.Hour).Format(time.RFC3339)}}
	tb.visit(contactURL("i", "1") + "&" + query.Encode())
	tb.until(`document.querySelector(".plot .now-line") && document.querySelector(".plot svg").clientWidth === document.querySelector(".plot").clientWidth`)
	if got := share(`document.querySelector(".plot .now-line").getBoundingClientRect().left`); math.Abs(got-0.25) > 0.01 {
		t.Errorf("now is at %.3f of a day of which six hours are over, want 0.25", got)
	}
}

func TestMovingRangeMovesEverything(t *testing.T) {
	at := time.Now().UTC().Add(-50 * time.Minute)
	tb := open(t, startWith(t, [4]string{"i", "1", "AVAILABLE", at.Format(clock)}, [4]string{"i", "1", "UNAVAILABLE", at.Add(time.Minute).Format(clock)}), options{})
	tb.visit(contactURL("i", "1") + "&last=1h")
	const visits = `document.querySelector(".totals td.num")?.textContent`
	tb.until(visits + ` === "1"`)
	before := js[string](tb, `document.querySelector(".range-text").textContent`)
	js[bool](tb, `(() => { const now = Date.now; Date.now = () => now() + 20 * 60_000; return true; })()`)
	tb.until(`document.querySelector(".range-text").textContent !== ` + jsonOf(before))
	tb.until(visits + ` === "0"`)
	if links := js[[]string](tb, `[...document.querySelectorAll(".downloads a")].map((a) => new URL(a.href).searchParams.get("last"))`); len(links) != 4 || links[0] != "3600s" {
		t.Errorf("the downloads of the last hour are of %q", links)
	}
}

func TestSkippedLocalTimesAreLater(t *testing.T) {
	tb := timelineOf(t, options{}, hour+"&tz=America/New_York")
	js[bool](tb, `(() => {
		const [from, to] = document.querySelectorAll(".custom input");
		from.value = "2026-03-08T02:30";
		to.value = "2026-03-08T12:00";
		document.querySelector(".custom .primary").click();
		return true;
	})()`)
	tb.until(`location.search.includes("from=2026-03-08T07%3A30%3A00Z")`)
}
