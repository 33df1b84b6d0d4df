package terminal

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// redrawInterval is the time between two drawings of a progress line.
const redrawInterval = 100 * time.Millisecond

// Progress reports the progress of a task. On a terminal it redraws a line in place, elsewhere it writes only the last line.
// Several goroutines may call its methods, at any rate.
type Progress struct {
	w           io.Writer
	label, unit string
	total       int64
	start       time.Time
	n           atomic.Int64
	once        sync.Once
	stop        chan struct{} // nil if it is not drawn
	stopped     sync.WaitGroup
}

// NewProgress starts a report on w, usually standard error. The label names the task ("importing"). The unit is "events", for
// example, or "B" for bytes, which are written as kB, MB and so on. A total of 0 means unknown. Always call Done at the end.
func NewProgress(w io.Writer, label, unit string, total int64) *Progress {
	p := &Progress{w: w, label: label, unit: unit, total: total, start: time.Now()}
	if IsTerminal(w) && os.Getenv("TERM") != "dumb" {
		p.stop = make(chan struct{})
		p.stopped.Go(p.redraw)
	}
	return p
}

func (p *Progress) Add(n int64) { p.n.Add(n) }

// Set sets the sum to n.
func (p *Progress) Set(n int64) { p.n.Store(n) }

// Done writes the last line, with amount and time. Only the first call has an effect.
func (p *Progress) Done() {
	p.once.Do(func() {
		clear := ""
		if p.stop != nil {
			close(p.stop)
			p.stopped.Wait()
			clear = "\r\x1b[K"
		}
		_, _ = io.WriteString(p.w, clear+p.last(time.Since(p.start))+"\n")
	})
}

func (p *Progress) redraw() {
	tick := time.Tick(redrawInterval)
	for {
		select {
		case <-tick:
			screen := ScreenOf(p.w)
			screen.Width-- // one column stays free, since a terminal may wrap after its last one
			_, _ = io.WriteString(p.w, "\r"+p.line(time.Since(p.start), screen)+"\x1b[K")
		case <-p.stop:
			return
		}
	}
}

// line returns the line during the task, at most as wide as the screen.
func (p *Progress) line(elapsed time.Duration, screen Screen) string {
	n := p.n.Load()
	rate := perSecond(n, elapsed)
	if p.total <= 0 {
		return cut(fmt.Sprintf("%s  %s  %s/s  %s", p.label, p.amount(n), p.amountShort(rate), Length(math.Floor(elapsed.Seconds()))), screen.Width)
	}
	done := min(1, max(0, float64(n)/float64(p.total)))
	left := "" // unknown before there is a rate
	if rate > 0 && n <= p.total {
		left = "  " + Length(math.Ceil(float64(p.total-n)/rate)) + " left"
	}
	// Only a complete task shows 100 %.
	text := fmt.Sprintf(" %3d %%  %s of %s  %s/s%s", int(100*done), p.amountShort(float64(n)), p.amount(p.total), p.amountShort(rate), left)
	space := screen.Width - utf8.RuneCountInString(p.label) - utf8.RuneCountInString(text) - len("  ") - 1
	if space < 4 {
		return cut(p.label+text, screen.Width)
	}
	return p.label + " ▕" + screen.paint(cyan, bar(done, min(space, 40))) + "▏" + text
}

// last returns the line at the end.
func (p *Progress) last(elapsed time.Duration) string {
	n := p.n.Load()
	done := p.amount(n)
	if p.total > 0 && n != p.total {
		done = p.amountShort(float64(n)) + " of " + p.amount(p.total)
	}
	return fmt.Sprintf("%s: %s in %s, %s/s", p.label, done, Length(elapsed.Seconds()), p.amountShort(perSecond(n, elapsed)))
}

// amount formats a number with its unit; amountShort omits units other than bytes.
func (p *Progress) amount(n int64) string {
	if p.unit == "B" {
		return p.amountShort(float64(n))
	}
	return Count(n) + " " + p.unit
}

func (p *Progress) amountShort(n float64) string {
	if p.unit != "B" {
		return Count(int64(math.Round(n)))
	}
	for _, prefix := range []string{"", "k", "M", "G"} {
		if n < 999.5 && prefix == "" {
			return fmt.Sprintf("%.0f B", n)
		}
		if n < 999.95 {
			return fmt.Sprintf("%.1f %sB", n, prefix)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.1f TB", n)
}

func perSecond(n int64, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(n) / elapsed.Seconds()
}

// bar draws a share of width columns, in eighths of a column.
func bar(share float64, width int) string {
	eighths := int(share * float64(width) * 8)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:max(0, width)])
	}
	return s
}
