package api

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/presencelog/presencelog/internal/history"
)

// cursor is where the next page of a list begins. To clients it is opaque.
type cursor struct {
	List  []string      `json:"l"` // what is listed: a cursor serves this list only
	Range history.Range `json:"r"` // for lists of a range, so that all pages have the same
	Name  string        `json:"n"` // the last phone or instance given
	At    time.Time     `json:"a"` // the last moment given
	Seq   int16         `json:"s"`
}

func (c cursor) encode() *string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings, numbers and times of four-digit years
	}
	s := base64.RawURLEncoding.EncodeToString(b)
	return &s
}

// readCursor returns nil where no cursor was given.
func readCursor(value string, list ...string) (*cursor, error) {
	if value == "" {
		return nil, nil
	}
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(value)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || !history.IsText(c.Name) {
		return nil, invalid("cursor", "it must be a nextCursor, as it was given")
	}
	if !slices.Equal(c.List, list) {
		return nil, invalid("cursor", "it belongs to another query; only limit may change from page to page")
	}
	return &c, nil
}

// readRange reads a cursor and the range of its list, which must be that of the first page.
func readRange(q RangeQuery, now time.Time, value string, list ...string) (history.Range, *cursor, error) {
	page, err := readCursor(value, list...)
	if err != nil {
		return history.Range{}, nil, err
	}
	in, err := q.read(now, page)
	if err == nil && page != nil && !(in.From.Equal(page.Range.From) && in.To.Equal(page.Range.To)) {
		err = invalid("cursor", "it belongs to another query; only limit may change from page to page")
	}
	return in, page, err
}
