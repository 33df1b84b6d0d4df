package terminal

import (
	"time"

	"github.com/presencelog/presencelog/internal/presence"
)

var saoPaulo = mustLoad("America/Sao_Paulo")

func mustLoad(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

func at(s string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", s, saoPaulo)
	if err != nil {
		panic(err)
	}
	return t
}

// history builds spans that follow one another.
type history struct {
	at    time.Time
	spans []presence.Span
}

func (h *history) add(s presence.Status, length time.Duration, confirmed time.Duration, events int64, by presence.EndedBy) {
	end := h.at.Add(length)
	h.spans = append(h.spans, presence.Span{
		Status: s, Start: h.at, End: &end, Seconds: length.Seconds(), ConfirmedSeconds: confirmed.Seconds(), Events: events, EndedBy: by,
	})
	h.at = end
}

// visit goes away until start, then into the chat, types and maybe records.
func (h *history) visit(start string, typing, recording time.Duration) {
	h.add(presence.Unavailable, at(start).Sub(h.at), 0, 0, presence.ByEvent)
	h.add(presence.Available, 12*time.Second, 12*time.Second, 1, presence.ByEvent)
	if typing > 0 {
		h.add(presence.Composing, typing, typing, int64(typing/(10*time.Second))+1, presence.ByEvent)
		h.add(presence.Paused, 40*time.Second, 40*time.Second, 1, presence.ByEvent)
	}
	if recording > 0 {
		h.add(presence.Recording, recording+25*time.Second, recording, 3, presence.ByTimeout)
		h.add(presence.Paused, 5*time.Minute, 0, 0, presence.ByTimeout)
	} else {
		h.add(presence.Available, 5*time.Minute, 0, 1, presence.ByTimeout)
	}
}

// open lets the last status run until now.
func (h *history) open(s presence.Status, now time.Time) []presence.Span {
	h.add(s, now.Sub(h.at), 0, 0, presence.Open)
	h.spans[len(h.spans)-1].End = nil
	return h.spans
}

func day() []presence.Span {
	h := &history{at: at("2026-11-21 13:30:11")}
	h.add(presence.Available, 5*time.Minute, 0, 1, presence.ByTimeout)
	h.visit("2026-11-21 15:02:00", 4*time.Minute, 0)
	h.visit("2026-11-21 15:13:00", 0, 0)
	h.visit("2026-11-21 15:21:00", 26*time.Minute, 2*time.Minute)
	h.visit("2026-11-21 19:40:00", 25*time.Second, 0)
	h.visit("2026-11-21 20:05:30", 70*time.Minute, 0)
	h.visit("2026-11-21 22:45:00", 0, 12*time.Minute)
	h.visit("2026-11-22 07:58:00", 35*time.Second, 0)
	h.visit("2026-11-22 09:30:00", 2*time.Minute, 0)
	return h.open(presence.Unavailable, at("2026-11-22 10:00:00"))
}

func month() []presence.Span {
	h := &history{at: at("2026-10-26 09:15:00")}
	h.add(presence.Available, 50*time.Minute, 0, 1, presence.ByTimeout)
	for _, v := range []struct {
		start             string
		typing, recording time.Duration
	}{
		{"2026-10-26 19:12:00", 3 * time.Minute, 0}, {"2026-10-27 08:01:00", 30 * time.Minute, 0},
		{"2026-10-27 12:30:00", 0, 0}, {"2026-10-27 18:30:00", 0, 45 * time.Minute}, {"2026-10-28 23:50:00", 20 * time.Minute, 0},
		{"2026-10-31 10:00:00", 2 * time.Hour, 0}, {"2026-11-03 10:00:00", 5 * time.Minute, 0}, {"2026-11-03 10:20:00", 5 * time.Minute, time.Minute},
		{"2026-11-03 11:00:00", 90 * time.Minute, 0}, {"2026-11-04 09:00:00", 20 * time.Second, 0}, {"2026-11-14 21:00:00", 20 * time.Second, time.Minute},
		{"2026-11-22 09:50:00", 5 * time.Minute, 0},
	} {
		h.visit(v.start, v.typing, v.recording)
	}
	return h.open(presence.Composing, at("2026-11-22 10:09:40"))
}
