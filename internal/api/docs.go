package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

var (
	//go:embed docs.html
	docsPage string
	//go:embed docs.css
	docsStyle string
	docs      = template.Must(template.New("docs").Parse(docsPage))
)

type docsOperation struct {
	Method, Path string
	Op           *huma.Operation
	MembersOf    string
	Members      []docsMember
}

type docsMember struct {
	Name, Type, Description string
	Enum                    []any
}

type docsGroup struct {
	Name       string
	Operations []docsOperation
}

// docsHandler serves the OpenAPI document as a page, without scripts or other hosts.
func docsHandler(o *huma.OpenAPI) http.Handler {
	groups := make([]docsGroup, len(o.Tags))
	for i, tag := range o.Tags {
		groups[i].Name = tag.Description
		put := func(method, path string, op *huma.Operation) {
			if op != nil && slices.Contains(op.Tags, tag.Name) {
				d := docsOperation{Method: method, Path: path, Op: op}
				d.readMembers(o)
				groups[i].Operations = append(groups[i].Operations, d)
			}
		}
		for path, item := range o.Paths {
			put(http.MethodGet, path, item.Get)
			put(http.MethodDelete, path, item.Delete)
		}
		for _, item := range o.Webhooks {
			put("webhook, POST", "to your address", item.Post)
		}
		slices.SortFunc(groups[i].Operations, func(a, b docsOperation) int {
			return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(b.Method, a.Method))
		})
	}
	var page bytes.Buffer
	err := docs.Execute(&page, map[string]any{"Doc": o, "Groups": groups, "Style": template.CSS(docsStyle)})
	if err != nil {
		panic(err) // the template and the document are parts of the program
	}
	hash := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(page.Bytes())
	})
}

// readMembers lists the members of the response, or of a webhook's body, one level of objects deep.
func (d *docsOperation) readMembers(o *huma.OpenAPI) {
	d.MembersOf = "Response"
	var media *huma.MediaType
	if body := d.Op.RequestBody; body != nil {
		d.MembersOf, media = "Body", body.Content["application/json"]
	} else if ok := d.Op.Responses["200"]; ok != nil {
		media = ok.Content["application/json"]
	}
	if media == nil {
		return
	}
	resolve := func(s *huma.Schema) *huma.Schema {
		if s != nil && s.Ref != "" {
			return o.Components.Schemas.SchemaFromRef(s.Ref)
		}
		return s
	}
	var read func(prefix string, s *huma.Schema, depth int)
	read = func(prefix string, s *huma.Schema, depth int) {
		s = resolve(s)
		for _, name := range slices.Concat(s.Required, optional(s)) {
			m := resolve(s.Properties[name])
			d.Members = append(d.Members, docsMember{prefix + name, typeName(m), m.Description, m.Enum})
			switch items := resolve(m.Items); {
			case depth == 0:
			case items != nil && len(items.Properties) > 0:
				read(prefix+name+"[].", items, depth-1)
			case len(m.Properties) > 0:
				read(prefix+name+".", m, depth-1)
			}
		}
	}
	read("", media.Schema, 2)
}

// optional returns the members of an object that may be absent, in the order of their names.
func optional(s *huma.Schema) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.Properties)), func(name string) bool { return slices.Contains(s.Required, name) })
}

func typeName(s *huma.Schema) string {
	name := strings.TrimSpace(s.Type + " " + s.Format)
	if s.Nullable {
		name += " or null"
	}
	return name
}
