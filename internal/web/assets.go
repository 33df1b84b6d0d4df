package web

import (
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/presencelog/presencelog/internal/problem"
)

// assets are the files that the document refers to. Their URLs have a hash of all files, so that browsers may cache them
// forever and imports between modules need no rewriting.
type assets struct {
	prefix  string // /assets/HASH/
	modules []string
	files   map[string]asset
}

type asset struct {
	kind         string
	body, packed []byte
}

var kinds = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
}

func loadAssets() *assets {
	a := &assets{files: map[string]asset{}}
	hash := sha256.New()
	entries, err := fs.ReadDir(files, "static")
	if err != nil {
		panic(err) // it is in the binary
	}
	for _, e := range entries {
		name := e.Name()
		body, err := fs.ReadFile(files, "static/"+name)
		kind := kinds[path.Ext(name)]
		if err != nil || kind == "" {
			panic("web: " + name + " cannot be served")
		}
		hash.Write([]byte(name))
		hash.Write(body)
		a.files[name] = asset{kind, body, compress(body)}
		if strings.HasSuffix(name, ".js") {
			a.modules = append(a.modules, name)
		}
	}
	a.prefix = "/assets/" + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:9]) + "/"
	return a
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := a.files[r.PathValue("name")]
	if !ok {
		problem.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", file.kind)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	send(w, r, file.body, file.packed)
}
