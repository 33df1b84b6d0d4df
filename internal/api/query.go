package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/presencelog/presencelog/internal/problem"
)

// checkQuery rejects unknown parameters, and repeated ones that are not lists, since the client expects them to have an effect.
// Lists may have commas, be repeated, or both.
func checkQuery(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	if r.URL.RawQuery == "" {
		next(ctx)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || query.Has("") { // the name is empty
		problem.New(http.StatusUnprocessableEntity, "", problem.Field{
			Location: "query", Message: "it is not a valid query; escape special characters",
		}).ServeHTTP(w, r)
		return
	}
	for name, values := range query {
		i := slices.IndexFunc(ctx.Operation().Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name })
		if i < 0 {
			problem.Write(w, r, invalid(shorten(name), "there is no such parameter"))
			return
		}
		p := ctx.Operation().Parameters[i]
		list := p.Schema.Type == huma.TypeArray
		parts := strings.Split(strings.Join(values, ","), ",")
		switch {
		case !list && len(values) > 1:
			problem.Write(w, r, invalid(name, "it may be given once"))
			return
		case p.Schema.Type == huma.TypeBoolean && values[0] == "":
			problem.Write(w, r, invalid(name, "it must be true or false"))
			return
		case list && slices.Contains(parts, ""): // huma would take a first one for no list at all
			problem.Write(w, r, invalid(name, "one of its values is empty"))
			return
		case list && p.Explode != nil && *p.Explode:
			query[name] = parts
		case list:
			query[name] = []string{strings.Join(parts, ",")}
		}
	}
	r.URL.RawQuery = query.Encode() // with a "=" after each name: huma takes a name without one for the value "true"
	next(ctx)
}

func shorten(name string) string {
	if len(name) > 40 {
		return strings.ToValidUTF8(name[:40], "") + "…"
	}
	return strings.ToValidUTF8(name, "\ufffd")
}
