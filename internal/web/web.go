// Package web serves the web page: one HTML document for all views and the scripts that fill it from the read API. It needs no
// token, since it has no data: the API authorizes the requests of the page.
package web

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/presencelog/presencelog/internal/problem"
)

//go:embed page.html static texts
var files embed.FS

// Config is what the page shows about the service.
type Config struct {
	Version string
	Demo    bool // the data are synthetic, and the page says so
}

// views are the paths of the page. What they show is in the query.
var views = []string{"/{$}", "/contact", "/instances", "/instance", "/status", "/setup"}

// Register adds the page's routes to mux.
func Register(mux *http.ServeMux, c Config) {
	p := &page{
		Config:   c,
		assets:   loadAssets(),
		texts:    loadTexts(),
		template: template.Must(template.ParseFS(files, "page.html")),
	}
	for _, path := range views {
		mux.Handle("GET "+path, p)
		mux.Handle(path, problem.MethodNotAllowed(http.MethodGet))
	}
	mux.Handle("GET "+p.assets.prefix+"{name}", p.assets)
	mux.Handle(p.assets.prefix+"{name}", problem.MethodNotAllowed(http.MethodGet))
}

type page struct {
	Config
	assets   *assets
	texts    map[string]texts
	template *template.Template
}

// ServeHTTP sends the document. With its nonce, the browser runs only our scripts.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	language := pickLanguage(r)
	// This JSON escapes <, so it cannot end its script element.
	data, err := json.Marshal(map[string]any{
		"language": language, "texts": p.texts[language], "version": p.Version, "demo": p.Demo,
	})
	var out bytes.Buffer
	if err == nil {
		err = p.template.Execute(&out, map[string]any{
			"Nonce": nonce, "Language": language, "Text": p.texts[language], "Assets": p.assets.prefix,
			"Modules": p.assets.modules, "Data": template.JS(data), "Demo": p.Demo,
		})
	}
	if err != nil {
		problem.New(http.StatusInternalServerError, "The page could not be created.").ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", policy(nonce))
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Add("Vary", "Accept-Language, Cookie")
	send(w, r, out.Bytes(), nil)
}

func policy(nonce string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'nonce-" + nonce + "'",
		"style-src 'nonce-" + nonce + "'",
		"img-src 'self'",
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
}

// send writes a body, compressed if the client accepts that. packed is the compressed body, or nil.
func send(w http.ResponseWriter, r *http.Request, body, packed []byte) {
	h := w.Header()
	h.Add("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		if packed == nil {
			packed = compress(body)
		}
		h.Set("Content-Encoding", "gzip")
		body = packed
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may have left
	}
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is valid
	_, _ = z.Write(body)                                    // a buffer accepts everything
	_ = z.Close()
	return out.Bytes()
}
