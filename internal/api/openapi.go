package api

import (
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/presencelog/presencelog/internal/hook"
)

// property describes a member of a response. A name means the same in every schema, unless the table has an entry with the
// schema's name.
type property struct {
	doc     string
	example any
	enum    []any
}

var statuses = []any{"AVAILABLE", "UNAVAILABLE", "COMPOSING", "PAUSED", "RECORDING"}

const exampleTime = "2026-10-01T10:00:00.000001Z"

var properties = map[string]property{
	"AVAILABLE":        {doc: "Contacts in the chat", example: 3},
	"COMPOSING":        {doc: "Contacts that type", example: 1},
	"PAUSED":           {doc: "Contacts that have stopped typing and are in the chat", example: 2},
	"RECORDING":        {doc: "Contacts that record audio", example: 1},
	"UNAVAILABLE":      {doc: "Contacts that are not in the chat", example: 120},
	"bucket":           {doc: "The length of a bucket", example: "day"},
	"by":               {doc: "What the contacts are ranked by", example: "typing"},
	"bytes":            {doc: "Size in bytes", example: 0},
	"confirmedSeconds": {doc: "The part of seconds that events confirm: the lower bound", example: 10},
	"confirmedShares":  {doc: "For each column, the share of the time that events confirm"},
	"confirmedUntil":   {doc: "The time until which events confirm it", example: exampleTime},
	"contacts":         {doc: "The contacts"},
	"count":            {doc: "How many started in the range", example: 12},
	"end":              {doc: "The end, exclusive; null while it is not finished", example: "2026-10-01T10:00:35Z"},
	"endedBy":          {doc: "Why it ended. event: another status was reported; timeout: no event renewed it; open: it is not finished", example: "timeout", enum: []any{"event", "timeout", "message", "gap", "open"}},
	"events":           {doc: "How many events set or renewed the status", example: 2},
	"firstEventAt":     {doc: "When the first event was received", example: exampleTime},
	"from":             {doc: "Start of the range", example: "2026-10-01T00:00:00Z"},
	"hour":             {doc: "0 to 23, local time in tz", example: 9},
	"instanceId":       {doc: "The instance, as the gateway names it", example: "3C01A7E5B2D94F608C1D2E3F4A5B6C7D"},
	"instances":        {doc: "The instances"},
	"lastAt":           {doc: "When it last happened", example: exampleTime},
	"lastEventAt":      {doc: "When the last event was received", example: exampleTime},
	"maxSeconds":       {doc: "The longest of those that started in the range; null if none did", example: 61.5},
	"meanSeconds":      {doc: "The mean length of those that started in the range; null if none did", example: 23.4},
	"measure":          {doc: "What is measured", example: "typing"},
	"medianSeconds":    {doc: "The median length of those that started in the range; null if none did", example: 20.1},
	"now":              {doc: "The time at which this was true", example: exampleTime},
	"p90Seconds":       {doc: "The 90th percentile of the lengths of those that started in the range; null if none did", example: 45.2},
	"phone":            {doc: "The contact, as the gateway names it", example: "5544999999999"},
	"receivedAt":       {doc: "When the event was received", example: exampleTime},
	"seconds":          {doc: "The length in seconds; until now if it is not finished", example: 35},
	"shares":           {doc: "For each column, the share of the time with this status"},
	"share":            {doc: "The share of the weeks in which the contact was in the chat in that hour: 0 to 1", example: 0.75},
	"since":            {doc: "When the status began", example: exampleTime},
	"start":            {doc: "The start", example: "2026-10-01T10:00:00Z"},
	"status":           {doc: "What the contact does", example: "COMPOSING", enum: statuses},
	"to":               {doc: "End of the range, exclusive", example: "2026-10-02T00:00:00Z"},
	"tz":               {doc: "The time zone of days and hours", example: "America/Sao_Paulo"},
	"version":          {doc: "The version of the service", example: "v1.2.3"},
	"weekday":          {doc: "1 is Monday, 7 is Sunday", example: 1},

	"EventsBody.events": {doc: "The events"},
	"Problem.status":    {example: 422},
	"Refusal.count":     {doc: "How often", example: 3},
	"Refusal.reason":    {doc: "Why requests were refused", example: "unauthorized"},
}

// describe completes the document that huma derives from the types.
func describe(o *huma.OpenAPI) {
	o.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	o.Info.Contact = &huma.Contact{Name: "presencelog", URL: "https://github.com/presencelog/presencelog"}
	o.Servers = []*huma.Server{{URL: "/", Description: "This service"}}
	o.Tags = []*huma.Tag{
		{Name: "now", Description: "What contacts do now"},
		{Name: "history", Description: "What they did, and for how long"},
		{Name: "service", Description: "The service itself"},
	}
	for path, item := range o.Paths {
		op := item.Get
		switch {
		case path == "/v1/status":
			op.Tags = []string{"service"}
		case path == "/v1/now" || path == "/v1/live" || strings.HasSuffix(path, "/wait") || strings.HasSuffix(path, "{phone}") || strings.HasSuffix(path, "/contacts") || path == "/v1/instances":
			op.Tags = []string{"now"}
		default:
			op.Tags = []string{"history"}
		}
		if op.Description == "" {
			op.Description = op.Summary + "."
		}
	}
	schemas := o.Components.Schemas
	message := schemas.Schema(reflect.TypeFor[hook.Message](), true, "")
	describeHooks(o, message)
	for name, schema := range schemas.Map() {
		for member, s := range schema.Properties {
			p, ok := properties[name+"."+member]
			if !ok {
				p = properties[member]
			}
			if s.Ref != "" {
				continue
			}
			if s.Description == "" {
				s.Description = p.doc
			}
			if s.Type == huma.TypeString && len(s.Enum) == 0 {
				s.Enum = p.enum
			}
			if len(s.Examples) == 0 && p.example != nil && s.Type != huma.TypeArray && s.Type != huma.TypeObject {
				s.Examples = []any{p.example}
			}
		}
	}
}

// describeHooks describes the messages that hooks get.
func describeHooks(o *huma.OpenAPI, message *huma.Schema) {
	header := func(name, doc, example string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: doc, Example: example, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	o.Webhooks = map[string]*huma.PathItem{"contactChanged": {Post: &huma.Operation{
		OperationID: "contact-changed", Summary: "A contact's status has changed", Tags: []string{"now"},
		Description: "A message to a hook (`presencelog hook add`), signed by Standard Webhooks: HMAC-SHA256 of `id.timestamp.body` with the hook's secret. " +
			"A message may come more than once, with the same webhook-id.",
		Security: []map[string][]string{{}},
		Parameters: []*huma.Param{
			header("webhook-id", "The message's id", "msg_x2k5mzq3"),
			header("webhook-timestamp", "When it was sent, in seconds since 1970", "1763803849"),
			header("webhook-signature", "v1, and the signature in base64", "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
		},
		RequestBody: &huma.RequestBody{Required: true, Description: "The change", Content: map[string]*huma.MediaType{"application/json": {Schema: message}}},
		Responses: map[string]*huma.Response{
			"204": {Description: "Any status of 2xx accepts the message"},
			"410": {Description: "Disables the hook"},
			"4XX": {Description: "Any other status: the message is sent again later"},
		},
	}}}
}
