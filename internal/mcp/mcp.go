// Package mcp has the tools that language models call by the Model Context Protocol: some queries of package history, and a
// wait of package live. Package api serves them over HTTP, and the command mcp on standard input and output. It checks the
// arguments of the model; the caller checks authorization.
package mcp

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/live"
	"github.com/presencelog/presencelog/internal/presence"
)

const (
	maxRows = 500 // of one response, since models read all of it
	maxWait = time.Minute
)

// Config is what the tools need.
type Config struct {
	History *history.Reader
	Live    *live.Hub
	Version string
	Now     func() time.Time
	Visible []string // visible instances; nil: all
	MayWait bool     // whether there is the tool wait
	// Run runs a query within the limits of the service, and converts errors for the caller.
	Run func(ctx context.Context, weight Weight, query func(context.Context) error) error
}

// Weight says what a query costs.
type Weight int

// A query reads a contact (Light) or all contacts of an instance (Heavy), or it waits without a database connection (Waiting).
const (
	Light Weight = iota
	Heavy
	Waiting
)

type tools struct{ Config }

// NewServer returns a server with the tools.
func NewServer(c Config) *mcp.Server {
	t := &tools{c}
	s := mcp.NewServer(&mcp.Implementation{Name: "presencelog", Title: "presencelog: presence of WhatsApp contacts", Version: c.Version}, &mcp.ServerOptions{
		Instructions: "Who was in the chat, typing or recording, when and for how long. A contact is a phone within an instance, which is a connected number. " +
			"COMPOSING is typing, PAUSED has stopped typing but is in the chat, AVAILABLE is in the chat, UNAVAILABLE is not. " +
			"Durations come twice: seconds is the upper bound, confirmedSeconds the part that events confirm.",
	})
	add(t, s, "list_instances", "The connected numbers, and when the first and the last event of each was received.", Light, t.instances)
	add(t, s, "now", "What contacts do now: who is typing, recording or in the chat. Without statuses, those who are in the chat.", Heavy, t.now)
	add(t, s, "timeline", "A contact's spans of time with one status in a range, oldest first.", Light, t.timeline)
	add(t, s, "durations", "How often and how long a contact, or all contacts of an instance together, typed, recorded and were in the chat.", Heavy, t.durations)
	add(t, s, "heatmap", "The activity of an instance's contacts in each hour of the week: when they are usually in the chat.", Heavy, t.heatmap)
	add(t, s, "habits", "The hours of the week in which a contact is usually in the chat. Pass a range of some weeks, for example last: 8w.", Light, t.habits)
	if c.MayWait {
		add(t, s, "wait", "Wait until a contact has stopped typing and recording, or has a status. Call it before replying.", Waiting, t.wait)
	}
	return s
}

// add adds a tool that only reads.
func add[In any](t *tools, s *mcp.Server, name, description string, weight Weight, query func(context.Context, In) (any, error)) {
	tool := &mcp.Tool{Name: name, Description: description, Annotations: &mcp.ToolAnnotations{
		ReadOnlyHint: true, IdempotentHint: true, DestructiveHint: new(false), OpenWorldHint: new(false),
	}}
	mcp.AddTool(s, tool, func(ctx context.Context, _ *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
		var out any
		err := t.Run(ctx, weight, func(ctx context.Context) (err error) {
			out, err = query(ctx, in)
			return err
		})
		return nil, out, err
	})
}

type none struct{}

func (t *tools) instances(ctx context.Context, _ none) (any, error) {
	list, err := t.History.Instances(ctx, t.Visible, "", maxRows)
	return map[string]any{"instances": list}, err
}

type nowInput struct {
	Instance string   `json:"instance,omitempty" jsonschema:"only this instance"`
	Statuses []string `json:"statuses,omitempty" jsonschema:"only these statuses: AVAILABLE, UNAVAILABLE, COMPOSING, PAUSED, RECORDING"`
	Search   string   `json:"search,omitempty" jsonschema:"only phones that contain this text"`
}

func (t *tools) now(ctx context.Context, in nowInput) (any, error) {
	query := history.NowQuery{Visible: t.Visible, InstanceID: in.Instance, Search: in.Search, Sort: history.ByActivity, Limit: maxRows}
	if !history.IsText(in.Search) {
		return nil, &history.InvalidError{Field: "search", Reason: "it must be UTF-8 without NUL characters"}
	}
	var err error
	if query.Statuses, err = presence.ParseStatuses(in.Statuses); err != nil {
		return nil, &history.InvalidError{Field: "statuses", Reason: err.Error()}
	}
	if len(query.Statuses) == 0 {
		query.Statuses = []presence.Status{presence.Available, presence.Composing, presence.Paused, presence.Recording}
	}
	now := t.Now()
	found, err := t.History.At(now).Now(ctx, query)
	return map[string]any{"contacts": found.Contacts, "now": now}, err
}

type rangeInput struct {
	Instance string `json:"instance" jsonschema:"the instanceId"`
	From     string `json:"from,omitempty" jsonschema:"start of the range: an RFC 3339 time, or a date, which means the start of that day; default: 24 hours before to"`
	To       string `json:"to,omitempty" jsonschema:"end of the range, exclusive; default: now"`
	Last     string `json:"last,omitempty" jsonschema:"length of the range, instead of from: 90m, 24h, 7d, 4w"`
	TZ       string `json:"tz,omitempty" jsonschema:"IANA time zone of dates and hours; default: the instance's"`
}

// over returns the range and its time zone, and a Reader with a fixed clock.
func (t *tools) over(ctx context.Context, in rangeInput) (reader *history.Reader, over history.Calendar, err error) {
	now := t.Now()
	reader = t.History.At(now)
	if err := t.maySee(in.Instance); err != nil {
		return reader, over, err
	}
	if over.Zone, err = reader.Zone(ctx, in.Instance, in.TZ); err == nil {
		over.Range, err = history.RangeText{From: in.From, To: in.To, Last: in.Last}.Range(now, over.Zone)
	}
	return reader, over, err
}

type contactInput struct {
	Phone string `json:"phone" jsonschema:"the contact's phone"`
	rangeInput
}

func (t *tools) timeline(ctx context.Context, in contactInput) (any, error) {
	reader, over, err := t.over(ctx, in.rangeInput)
	if err != nil {
		return nil, err
	}
	spans, err := reader.Timeline(ctx, in.Instance, in.Phone, over.Range, time.Time{}, maxRows+1)
	more := len(spans) > maxRows
	return map[string]any{
		"from": over.From, "to": over.To, "timeZone": over.Zone.String(), "spans": spans[:min(len(spans), maxRows)], "more": more,
	}, err
}

type durationsInput struct {
	Phone  string `json:"phone,omitempty" jsonschema:"the contact's phone; without it all contacts together"`
	Bucket string `json:"bucket,omitempty" jsonschema:"divide the range into buckets: none (the default), hour, day, week, month"`
	rangeInput
}

func (t *tools) durations(ctx context.Context, in durationsInput) (any, error) {
	reader, over, err := t.over(ctx, in.rangeInput)
	if err != nil {
		return nil, err
	}
	over.Bucket, err = oneOf("bucket", in.Bucket, history.NoBucket, history.Hour, history.Day, history.Week, history.Month)
	if err != nil {
		return nil, err
	}
	return reader.Durations(ctx, in.Instance, in.Phone, over)
}

type heatmapInput struct {
	Measure string `json:"measure,omitempty" jsonschema:"inChat (the default), typing or recording"`
	rangeInput
}

func (t *tools) heatmap(ctx context.Context, in heatmapInput) (any, error) {
	reader, over, err := t.over(ctx, in.rangeInput)
	if err != nil {
		return nil, err
	}
	measure, err := oneOf("measure", in.Measure, presence.MeasureInChat, presence.MeasureTyping, presence.MeasureRecording)
	if err != nil {
		return nil, err
	}
	return reader.Heatmap(ctx, in.Instance, "", measure, over.Range, over.Zone)
}

func (t *tools) habits(ctx context.Context, in contactInput) (any, error) {
	reader, over, err := t.over(ctx, in.rangeInput)
	if err != nil {
		return nil, err
	}
	return reader.Habits(ctx, in.Instance, in.Phone, over.Range, over.Zone)
}

type waitInput struct {
	Instance string  `json:"instance" jsonschema:"the instanceId"`
	Phone    string  `json:"phone" jsonschema:"the contact's phone"`
	Until    string  `json:"until,omitempty" jsonschema:"idle (the default: neither typing nor recording for settleSeconds), typing, recording, available or unavailable"`
	Settle   float64 `json:"settleSeconds,omitempty" jsonschema:"with idle: for how long; default 1.5"`
	Timeout  float64 `json:"timeoutSeconds,omitempty" jsonschema:"how long to wait at most, up to 60; default 30"`
}

func (t *tools) wait(ctx context.Context, in waitInput) (any, error) {
	if err := t.maySee(in.Instance); err != nil {
		return nil, err
	}
	until, err := oneOf("until", in.Until, live.UntilIdle, live.UntilTyping, live.UntilRecording, live.UntilAvailable, live.UntilUnavailable)
	if err != nil {
		return nil, err
	}
	query := live.WaitQuery{InstanceID: in.Instance, Phone: in.Phone, Until: until, Settle: 1500 * time.Millisecond, Timeout: 30 * time.Second}
	for _, v := range []struct {
		name    string
		seconds float64
		to      *time.Duration
	}{{"settleSeconds", in.Settle, &query.Settle}, {"timeoutSeconds", in.Timeout, &query.Timeout}} {
		if v.seconds < 0 || v.seconds > maxWait.Seconds() {
			return nil, &history.InvalidError{Field: v.name, Reason: "it must be from 0 to 60"}
		}
		if v.seconds > 0 {
			*v.to = time.Duration(v.seconds * float64(time.Second))
		}
	}
	return t.Live.Wait(ctx, t.History, query)
}

// oneOf reads an argument with fixed values; the first is the default.
func oneOf[T ~string](field, text string, words ...T) (T, error) {
	if text == "" {
		return words[0], nil
	}
	if i := slices.Index(words, T(text)); i >= 0 {
		return words[i], nil
	}
	return "", &history.InvalidError{Field: field, Reason: fmt.Sprintf("it must be one of %v", words)}
}

// maySee returns the same error for hidden instances as for those that do not exist.
func (t *tools) maySee(instanceID string) error {
	if t.Visible == nil || slices.Contains(t.Visible, instanceID) {
		return nil
	}
	return &history.NotFoundError{InstanceID: instanceID}
}
