package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/presencelog/presencelog/internal/history"
)

// cursor says where the next page of a list begins. It is opaque to clients.
type cursor struct {
	List  []string      `json:"l"` // names the list: a cursor is valid for one list only
	Range history.Range `json:"r"` // for lists of a range: all pages have the same one
	Name  string        `json:"n"` // the last phone or instance returned
	At    time.Time     `json:"a"` // the last time returned
	Seq   int16         `json:"s"`

	Now *history.NowContact `json:"c,omitempty"` // the last contact returned
}

func (c cursor) encode() *string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers and times of four-digit years
	}
	return new(base64.RawURLEncoding.EncodeToString(b))
}

// readCursor returns the zero cursor for an empty value.
func readCursor(value string, list ...string) (c cursor, err error) {
	if value == "" {
		return c, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || !history.IsText(c.Name) || c.Now != nil && !(history.IsText(c.Now.Phone) && history.IsText(c.Now.InstanceID)) {
		return c, invalid("cursor", "it must be a nextCursor, as it was given")
	}
	if !slices.Equal(c.List, list) {
		return c, invalid("cursor", "it belongs to another query; only limit may change from page to page")
	}
	return c, nil
}

// cutPage returns the first limit rows and, if there are more, the cursor of the next page.
func cutPage[R any](rows []R, limit int, after func(last R) cursor) ([]R, *string) {
	if len(rows) <= limit {
		return rows, nil
	}
	return rows[:limit], after(rows[limit-1]).encode()
}

// readRange reads a cursor and the range of its list. All pages use the range of the first one, also if it is a default.
func (s *server) readRange(ctx context.Context, instanceID string, q RangeQuery, value string, list ...string) (history.Range, cursor, error) {
	page, err := readCursor(value, list...)
	if err != nil {
		return history.Range{}, page, err
	}
	now := s.Now()
	if q.To == "" && !page.Range.To.IsZero() {
		now = page.Range.To
	}
	in, err := s.rangeOf(ctx, instanceID, q, now, nil)
	if err == nil && value != "" && !(in.From.Equal(page.Range.From) && in.To.Equal(page.Range.To)) {
		err = invalid("cursor", "it belongs to another query; only limit may change from page to page")
	}
	return in, page, err
}
