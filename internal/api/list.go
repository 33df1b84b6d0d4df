package api

import (
	"bufio"
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// The forms in which lists are answered, as the parameter format names them.
const (
	asJSON   = "json"
	asCSV    = "csv"
	asNDJSON = "ndjson"
)

// pageBound is how long a client may take to read a page of a list.
const pageBound = 2 * time.Minute

// FormatQuery is the parameter of lists that says in which form they are answered.
type FormatQuery struct {
	Format string `query:"format" enum:"json,csv,ndjson" doc:"The form of the answer; goes before the header Accept, which may ask for text/csv or application/x-ndjson; default: json"`
	Accept string `header:"Accept" hidden:"true"`
}

// form returns the form that the request asks for.
func (q FormatQuery) form() string {
	if q.Format != "" {
		return q.Format
	}
	best, weight := asJSON, 0.0
	for part := range strings.SplitSeq(q.Accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		form, w := "", 1.0
		switch media {
		case "text/csv":
			form = asCSV
		case "application/x-ndjson", "application/ndjson":
			form = asNDJSON
		case "application/json", "application/*", "*/*":
			form = asJSON
		}
		if q, given := params["q"]; given {
			w, _ = strconv.ParseFloat(q, 64)
		}
		if form != "" && w > weight {
			best, weight = form, w
		}
	}
	return best
}

// PageQuery is the parameters of a list that comes in pages.
type PageQuery struct {
	FormatQuery
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"How many to give at most; default: 100 as JSON, all as CSV and NDJSON"`
	Cursor string `query:"cursor" doc:"nextCursor of the page before"`
}

func (q *PageQuery) page() (cursor *string, limit *int, most int) { return &q.Cursor, &q.Limit, 1000 }

// pager is the parameters of a list that comes in pages: where the page begins, how long it is, 0 if that was not asked
// for, and how long it may be at most. A tenth of that is the default.
type pager interface {
	page() (cursor *string, limit *int, most int)
}

// listBody is the JSON body of a list.
type listBody[R any] interface {
	// rows returns what is listed and the cursor of the next page, nil on the last and for lists that have no pages.
	rows() ([]R, *string)
}

// list registers an operation that gives a list: as JSON, or a row after another as CSV or NDJSON. Those give the whole
// list from the cursor on, unless a limit is asked for; it is read page by page, so that memory does not grow with it.
func list[I interface{ form() string }, B listBody[R], R any](
	s *server, a huma.API, path, id, summary string, answer func(context.Context, *I) (B, error),
) {
	o := operation(path, id, summary)
	o.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"application/json":     {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[B](), true, "")},
		"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString, Description: "A line of names, then the list's objects, one a line (RFC 4180): " + strings.Join(names(reflect.TypeFor[R]()), ",")}},
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "The list's objects as JSON, one a line"}},
	}}}
	huma.Register(a, o, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		form := (*in).form()
		var cursor *string
		whole := false
		if p, ok := any(in).(pager); ok {
			var limit *int
			var most int
			cursor, limit, most = p.page()
			if *limit == 0 {
				*limit = most / 10
				if whole = form != asJSON; whole {
					*limit = most
				}
			}
		}
		body, err := ask(ctx, s, in, answer)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			w.Header().Add("Vary", "Accept")
			if form == asJSON {
				w.Header().Set("Content-Type", "application/json")
				s.finish(r, a.Marshal(w, "application/json", body))
				return
			}
			out := newRowWriter[R](w, form)
			for {
				rows, next := body.rows()
				err := out.write(rows)
				if err == nil && whole && next != nil {
					*cursor = *next
					if body, err = ask(ctx, s, in, answer); err == nil {
						continue
					}
				}
				s.finish(r, err)
				return
			}
		}}, nil
	})
}

// finish ends an answer of which something was written. If there was an error, the connection is cut, so that nobody takes
// a part for the whole.
func (s *server) finish(r *http.Request, err error) {
	if err == nil || r.Method == http.MethodHead { // whose answers have no body, which is an error to the writer
		return
	}
	if r.Context().Err() == nil {
		s.Log.Warn("cutting an answer short", "path", r.URL.Path, "error", err)
	}
	panic(http.ErrAbortHandler)
}

// rowWriter writes rows as CSV or NDJSON.
type rowWriter[R any] struct {
	control *http.ResponseController
	out     *bufio.Writer
	row     func(R) error
}

func newRowWriter[R any](w http.ResponseWriter, form string) *rowWriter[R] {
	out := bufio.NewWriter(w)
	t := &rowWriter[R]{control: http.NewResponseController(w), out: out}
	if form == asCSV {
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		writeCSV(out, names(reflect.TypeFor[R]()))
		t.row = func(row R) error { return writeCSV(out, cells(reflect.ValueOf(row))) }
		return t
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	t.row = func(row R) error { return lines.Encode(row) }
	return t
}

// write sends rows on their way. The time that the server gives to an answer counts anew for each page.
func (t *rowWriter[R]) write(rows []R) error {
	if err := t.control.SetWriteDeadline(time.Now().Add(pageBound)); err != nil {
		return err
	}
	for _, row := range rows {
		if err := t.row(row); err != nil {
			return err
		}
	}
	if err := t.out.Flush(); err != nil {
		return err
	}
	return t.control.Flush()
}
