// Package gateway decodes callbacks of gateways into a presence.Event, and encodes events for exports and synthetic traffic.
// Each gateway has a file. Package webhook calls it for each request, package archive for each line.
package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/presencelog/presencelog/internal/presence"
)

const (
	maxNameBytes = 128 // of a phone or an instanceId
	maxDepth     = 64  // of the unknown fields
)

// PresenceZAPI is the type of Z-API's callbacks that report presence.
const PresenceZAPI = "PresenceChatCallback"

// zapiBody is Z-API's PresenceChatCallback. Every field stays raw, so that errors can name it; other fields are kept as
// received.
type zapiBody struct {
	Type       jsontext.Value `json:"type"`
	Phone      jsontext.Value `json:"phone"`
	Status     jsontext.Value `json:"status"`
	LastSeen   jsontext.Value `json:"lastSeen"`
	InstanceID jsontext.Value `json:"instanceId"`
	Extra      jsontext.Value `json:",embed"`
}

// zapiRecord is a line of an export: the body and when it was received.
type zapiRecord struct {
	zapiBody   `json:",embed"`
	ReceivedAt jsontext.Value `json:"receivedAt"`
	Wrapped    jsontext.Value `json:"$extra"` // the unknown fields, if one of them is named receivedAt or $extra
}

// FieldError says which field of a body is wrong, and why.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return e.Field + " " + e.Reason }

// IgnoredError says that a body is a callback of another type.
type IgnoredError struct{ Type string }

func (e *IgnoredError) Error() string {
	return fmt.Sprintf("a %q callback is not a presence event", e.Type)
}

// DecodeZAPI reads the body of a Z-API callback; ReceivedAt and Seq are left for the caller. The error is a *FieldError,
// an *IgnoredError, or says why the body is not a JSON object.
func DecodeZAPI(body []byte) (presence.Event, error) {
	var raw zapiBody
	if err := unmarshal(body, &raw); err != nil {
		return presence.Event{}, err
	}
	return raw.event()
}

// DecodeRecord reads a line that AppendRecord has written; the errors are DecodeZAPI's.
func DecodeRecord(line []byte) (presence.Event, error) {
	var raw zapiRecord
	if err := unmarshal(line, &raw); err != nil {
		return presence.Event{}, err
	}
	if raw.Wrapped != nil {
		var wrapped zapiBody
		if err := unmarshal(raw.Wrapped, &wrapped); err != nil || raw.Extra != nil {
			return presence.Event{}, &FieldError{"$extra", "is not an object that has all unknown fields"}
		}
		raw.Extra = wrapped.Extra
	}
	e, err := raw.event()
	if err != nil {
		return e, err
	}
	e.ReceivedAt, err = moment("receivedAt", raw.ReceivedAt)
	return e, err
}

func (raw *zapiBody) event() (presence.Event, error) {
	kind, err := text("type", raw.Type)
	if err != nil {
		return presence.Event{}, err
	}
	if kind != PresenceZAPI {
		return presence.Event{}, &IgnoredError{kind}
	}
	var e presence.Event
	if e.InstanceID, err = name("instanceId", raw.InstanceID); err != nil {
		return e, err
	}
	if e.Phone, err = name("phone", raw.Phone); err != nil {
		return e, err
	}
	status, err := text("status", raw.Status)
	if err != nil {
		return e, err
	}
	if e.Status, err = presence.ParseStatus(status); err != nil {
		return e, &FieldError{"status", fmt.Sprintf("is %q; it must be one of AVAILABLE, UNAVAILABLE, COMPOSING, PAUSED, RECORDING", shorten(status))}
	}
	if e.LastSeen, err = integer("lastSeen", raw.LastSeen); err != nil {
		return e, err
	}
	e.Extra, err = extra(raw.Extra)
	return e, err
}

// TypeZAPI returns the type of a Z-API callback, even if the rest is truncated or invalid; "" if it is unknown.
func TypeZAPI(body []byte) string { return member(body, "type") }

// ContactZAPI returns the instance and the phone of a Z-API callback in the same way.
func ContactZAPI(body []byte) (instanceID, phone string) {
	return member(body, "instanceId"), member(body, "phone")
}

// member returns a member of a JSON object that is a string. Duplicate names and invalid UTF-8 before it do not hide it.
func member(body []byte, name string) string {
	d := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return ""
	}
	for {
		key, err := d.ReadToken()
		if err != nil || key.Kind() != '"' {
			return ""
		}
		if key.String() == name {
			if t, err := d.ReadToken(); err == nil && t.Kind() == '"' {
				return t.String()
			}
			return ""
		}
		if err := d.SkipValue(); err != nil {
			return ""
		}
	}
}

// unmarshal reads a JSON object.
func unmarshal(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	syntax, malformed := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return errors.New("the body is empty; it must be a JSON object")
	case malformed:
		return fmt.Errorf("the body is not JSON: %s at byte %d", withoutQuote(syntax.Err.Error()), syntax.ByteOffset)
	case err != nil || jsontext.Value(body).Kind() == 'n': // null would be decoded without an error
		return errors.New("the body must be a JSON object")
	}
	return nil
}

// withoutQuote removes what a syntax error quotes after an invalid escape: up to 12 bytes, perhaps of a message.
func withoutQuote(reason string) string {
	for _, kind := range []string{"invalid escape sequence", "invalid surrogate pair"} {
		if strings.HasPrefix(reason, kind) {
			return kind
		}
	}
	return reason
}

func text(field string, v jsontext.Value) (string, error) {
	if v == nil {
		return "", &FieldError{field, "is missing"}
	}
	if v.Kind() != '"' {
		return "", &FieldError{field, "is " + kindOf(v) + "; it must be a string"}
	}
	s, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return "", &FieldError{field, "is not valid UTF-8"}
	}
	return string(s), nil
}

// name reads a phone or an instanceId: PostgreSQL's text cannot hold a NUL.
func name(field string, v jsontext.Value) (string, error) {
	s, err := text(field, v)
	switch {
	case err != nil:
		return "", err
	case s == "":
		return "", &FieldError{field, "is empty"}
	case len(s) > maxNameBytes:
		return "", &FieldError{field, fmt.Sprintf("has %d bytes; it must have at most %d", len(s), maxNameBytes)}
	case strings.IndexByte(s, 0) >= 0:
		return "", &FieldError{field, "contains a NUL character"}
	}
	return s, nil
}

func integer(field string, v jsontext.Value) (*int64, error) {
	if v == nil || v.Kind() == 'n' {
		return nil, nil
	}
	if v.Kind() != '0' {
		return nil, &FieldError{field, "is " + kindOf(v) + "; it must be an integer or null"}
	}
	var n int64
	if err := json.Unmarshal(v, &n); err != nil {
		return nil, &FieldError{field, "is " + shorten(string(v)) + "; it must be a 64-bit integer or null"}
	}
	return &n, nil
}

// moment reads a time. It limits the years, so that mistyped times do not create partitions.
func moment(field string, v jsontext.Value) (time.Time, error) {
	s, err := text(field, v)
	if err != nil {
		return time.Time{}, err
	}
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return at, &FieldError{field, fmt.Sprintf("is %q; it must be a time like 2026-10-01T09:00:00.123456Z", shorten(s))}
	}
	at = at.UTC().Truncate(time.Microsecond)
	if at.Year() < 2000 || at.Year() > 2100 {
		return at, &FieldError{field, fmt.Sprintf("is in the year %d; it must be from 2000 to 2100", at.Year())}
	}
	return at, nil
}

// extra prepares the unknown fields for storage. It makes them compact, so that equal fields are stored equally, and limits
// their depth, since the database would reject a whole batch. It replaces NUL with U+FFFD: PostgreSQL accepts NUL but fails to
// convert it to text, so that one such event would break every query over extra.
func extra(v jsontext.Value) ([]byte, error) {
	if v == nil || string(v) == "{}" {
		return nil, nil
	}
	depth, inString, replaced := 0, false, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case inString && c == '\\':
			if bytes.HasPrefix(v[i:], []byte(`\u0000`)) {
				copy(v[i:], `\ufffd`)
				replaced = true
			}
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return nil, &FieldError{"body", fmt.Sprintf("is nested deeper than %d levels", maxDepth)}
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if replaced && !v.IsValid() { // two names have become equal
		return nil, &FieldError{"body", "has names that contain a NUL character"}
	}
	if err := v.Compact(); err != nil {
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	return v, nil
}

func kindOf(v jsontext.Value) string {
	switch v.Kind() {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '0':
		return "a number"
	case '"':
		return "a string"
	case '{':
		return "an object"
	default:
		return "an array"
	}
}

func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// AppendZAPI appends the body that Z-API POSTs for an event.
func AppendZAPI(b []byte, e presence.Event) []byte {
	return append(appendMembers(b, e), '}')
}

// AppendRecord appends an event as one line of an export: the body with receivedAt added.
func AppendRecord(b []byte, e presence.Event) []byte {
	e.Extra = wrap(e.Extra)
	b = append(appendMembers(b, e), `,"receivedAt":"`...)
	return append(e.ReceivedAt.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z"), "\"}\n"...)
}

// wrap returns the unknown fields as a record has them: in $extra if one of them has a name that the record itself uses.
func wrap(extra []byte) []byte {
	if !bytes.Contains(extra, []byte("receivedAt")) && !bytes.Contains(extra, []byte("$extra")) && bytes.IndexByte(extra, '\\') < 0 {
		return extra // no name, even an escaped one, is taken
	}
	var taken zapiRecord
	if json.Unmarshal(extra, &taken) != nil || taken.ReceivedAt == nil && taken.Wrapped == nil {
		return extra
	}
	return slices.Concat([]byte(`{"$extra":`), extra, []byte("}"))
}

// appendMembers appends the body without its closing brace.
func appendMembers(b []byte, e presence.Event) []byte {
	b = append(b, `{"type":"`+PresenceZAPI+`","phone":`...)
	b, _ = jsontext.AppendQuote(b, e.Phone) // the only error is invalid UTF-8
	b = append(b, `,"status":"`...)
	b = append(b, e.Status.String()...)
	b = append(b, `","lastSeen":`...)
	if e.LastSeen == nil {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendInt(b, *e.LastSeen, 10)
	}
	b = append(b, `,"instanceId":`...)
	b, _ = jsontext.AppendQuote(b, e.InstanceID)
	members := bytes.TrimSuffix(bytes.TrimPrefix(bytes.TrimSpace(e.Extra), []byte("{")), []byte("}"))
	if members = bytes.TrimSpace(members); len(members) > 0 {
		b = append(b, ',')
		b = append(b, members...)
	}
	return b
}
