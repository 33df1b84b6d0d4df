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

	"github.com/presencelog/presencelog/internal/auth"
	"github.com/presencelog/presencelog/internal/table"
)

// The formats of lists, as the parameter format names them.
const (
	asJSON   = "json"
	asCSV    = "csv"
	asNDJSON = "ndjson"
)

var contentTypes = map[string]string{asJSON: "application/json", asCSV: "text/csv; charset=utf-8", asNDJSON: "application/x-ndjson"}

// Timeouts for writing a page of a list, and a list as JSON.
const (
	pageTimeout = 2 * time.Minute
	jsonTimeout = 30 * time.Second
)

// FormatQuery is the parameter format of lists.
type FormatQuery struct {
	Format string `query:"format" enum:"json,csv,ndjson" doc:"Format of the response; overrides the header Accept, which may ask for text/csv or application/x-ndjson; default: json"`
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
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"Maximum number to return; default: 100 as JSON, all as CSV and NDJSON"`
	Cursor string `query:"cursor" doc:"nextCursor of the previous page"`
}

func (q PageQuery) page() (asked page, most int) { return page{q.Cursor, q.Limit}, 1000 }

// page is a page of a list: where it begins, and its limit, 0 for none.
type page struct {
	cursor string
	limit  int
}

// listBody is the JSON body of a list.
type listBody[R any] interface {
	// rows returns the list and the cursor of the next page, nil on the last page and for lists without pages.
	rows() ([]R, *string)
}

// list registers an operation that returns a list, as JSON, CSV or NDJSON.
func list[I interface{ form() string }, B listBody[R], R any](
	s *server, a huma.API, path, id, summary string, query func(context.Context, *I) (B, error),
) {
	onlyPage := func(*I) (page, int) { return page{}, 0 }
	registerList(s, a, path, id, summary, onlyPage, func(ctx context.Context, in *I, _ page) (B, error) { return query(ctx, in) })
}

// pages registers an operation that returns a list in pages. CSV and NDJSON have the whole list from the cursor on, unless
// there is a limit. It is read page by page, so that memory does not grow.
func pages[I interface {
	form() string
	page() (asked page, most int)
}, B listBody[R], R any](
	s *server, a huma.API, path, id, summary string, query func(context.Context, *I, page) (B, error),
) {
	registerList(s, a, path, id, summary, func(in *I) (page, int) { return (*in).page() }, query)
}

// registerList registers the operation of a list. first returns the requested page and the maximum limit; a tenth of that is
// the default.
func registerList[I interface{ form() string }, B listBody[R], R any](
	s *server, a huma.API, path, id, summary string, first func(*I) (page, int), query func(context.Context, *I, page) (B, error),
) {
	o, heavy := operation(path, id, summary), isHeavy(path)
	o.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{
		"application/json":     {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[B](), true, "")},
		"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString, Description: "A line of names, then the list's objects, one a line (RFC 4180): " + strings.Join(table.Names[R](), ",")}},
		"application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString, Description: "The list's objects as JSON, one a line"}},
	}}}
	huma.Register(a, o, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		form := (*in).form()
		at, most := first(in)
		whole := at.limit == 0 && form != asJSON
		switch {
		case whole:
			at.limit = most
		case at.limit == 0:
			at.limit = most / 10
		}
		read := func(ctx context.Context) (B, error) { return query(ctx, in, at) }
		leave, err := s.gates.responses.enter(ctx, auth.FromContext(ctx).Key())
		if err != nil {
			return nil, err
		}
		handedOver := false
		defer func() {
			if !handedOver { // also after a panic
				leave()
			}
		}()
		body, err := runQuery(ctx, s, heavy, read)
		if err != nil {
			return nil, err
		}
		handedOver = true
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer leave()
			r, w := humago.Unwrap(c)
			w.Header().Add("Vary", "Accept")
			w.Header().Set("Content-Type", contentTypes[form])
			if r.Method == http.MethodHead {
				return
			}
			if form == asJSON {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(jsonTimeout)) // a slow client occupies a place
				s.finish(r, a.Marshal(w, "application/json", body))
				return
			}
			out := newRowWriter[R](w, form)
			for {
				rows, next := body.rows()
				err := out.write(rows)
				if !whole {
					at.limit -= len(rows) // a page of large rows may have fewer than its limit
				}
				if err != nil || next == nil || at.limit == 0 {
					s.finish(r, err)
					return
				}
				at.cursor = *next
				if body, err = runQuery(ctx, s, heavy, read); err != nil {
					s.finish(r, err)
					return
				}
			}
		}}, nil
	})
}

// finish ends a response. After an error, it closes the connection, so that the client notices that the response is incomplete.
func (s *server) finish(r *http.Request, err error) {
	if err == nil {
		return
	}
	if r.Context().Err() == nil {
		s.requestLog(r.Context()).Warn("response truncated", "error", err)
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
		_ = writeCSV(out, table.Names[R]())
		t.row = func(row R) error { return writeCSV(out, table.Cells(row, escapeFormula)) }
		return t
	}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	t.row = func(row R) error { return lines.Encode(row) }
	return t
}

// write sends rows and restarts the write timeout.
func (t *rowWriter[R]) write(rows []R) error {
	if err := t.control.SetWriteDeadline(time.Now().Add(pageTimeout)); err != nil {
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
