package web

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func served(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	Register(mux, Config{Version: "v1.2.3"})
	return mux
}

func ask(h http.Handler, method, path string, headers ...string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func read(t *testing.T, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEveryViewIsTheDocument(t *testing.T) {
	h := served(t)
	for _, path := range []string{"/", "/contact?phone=1", "/instances", "/instance", "/status", "/setup"} {
		res := ask(h, http.MethodGet, path)
		if body := read(t, res); res.StatusCode != http.StatusOK || !strings.Contains(body, `<main id="main"`) {
			t.Errorf("%s: %s", path, res.Status)
		}
		if res := ask(h, http.MethodPost, path); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") == "" {
			t.Errorf("POST %s: %s", path, res.Status)
		}
		if res := ask(h, http.MethodHead, path); res.StatusCode != http.StatusOK || read(t, res) != "" {
			t.Errorf("HEAD %s: %s", path, res.Status)
		}
	}
}

// Nothing runs in the page but what the document names with its nonce.
func TestContentPolicyAllowsOnlyOwnFiles(t *testing.T) {
	h := served(t)
	res := ask(h, http.MethodGet, "/")
	body, policy := read(t, res), res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is too wide: %s", policy)
	}
	nonce := regexp.MustCompile(`script-src 'nonce-(\w{20,})'`).FindStringSubmatch(policy)
	if nonce == nil || !strings.Contains(body, `nonce="`+nonce[1]+`"`) {
		t.Fatalf("the document has not the nonce of %s", policy)
	}
	if again := ask(h, http.MethodGet, "/").Header.Get("Content-Security-Policy"); again == policy {
		t.Error("the nonce is the same twice")
	}
	for _, inline := range []string{`style="`, "<style", "onclick", "javascript:"} {
		if strings.Contains(body, inline) {
			t.Errorf("the document has %s", inline)
		}
	}
	if cache := res.Header.Get("Cache-Control"); cache != "no-cache" {
		t.Errorf("Cache-Control: %s, want no-cache", cache)
	}
}

var address = regexp.MustCompile(`(?:href|src)="([^"]+)"`)

func TestAssetsAreCachedAndSmall(t *testing.T) {
	h := served(t)
	res := ask(h, http.MethodGet, "/", "Accept-Encoding", "gzip")
	packed := read(t, res)
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	total, seen := len(packed), map[string]bool{}
	for _, m := range address.FindAllStringSubmatch(string(body), -1) {
		if strings.HasPrefix(m[1], "#") || seen[m[1]] {
			continue
		}
		seen[m[1]] = true
		res := ask(h, http.MethodGet, m[1], "Accept-Encoding", "gzip")
		if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			res.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %s, %v", m[1], res.Status, res.Header)
		}
		total += len(read(t, res))
	}
	entries, err := fs.ReadDir(files, "static")
	if err != nil || len(seen) != len(entries) {
		t.Errorf("the document names %d files, there are %d (%v)", len(seen), len(entries), err)
	}
	if total >= 60_000 {
		t.Errorf("the page is %d bytes compressed, want less than 60,000", total)
	}
	t.Logf("%d bytes compressed", total)
	if res := ask(h, http.MethodGet, "/assets/other/app.js"); res.StatusCode != http.StatusNotFound {
		t.Errorf("another hash: %s", res.Status)
	}
}

// The page asks no other host: there is not even an address of one in it.
func TestFilesNameNoOtherHost(t *testing.T) {
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, path)
		for _, found := range regexp.MustCompile(`https?://[^"'\s]+`).FindAllString(string(body), -1) {
			if found != "http://www.w3.org/2000/svg" {
				t.Errorf("%s has %s", path, found)
			}
		}
		for _, sink := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "setAttribute(\"style\""} {
			if strings.Contains(string(body), sink) {
				t.Errorf("%s has %s", path, sink)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// shape is a text's plural forms and the values that stand in it.
func shape(v any) string {
	if forms, ok := v.(map[string]any); ok {
		return fmt.Sprint(slices.Sorted(maps.Keys(forms)), shape(forms["other"]))
	}
	found := placeholder.FindAllString(v.(string), -1)
	slices.Sort(found)
	return fmt.Sprint(found)
}

func TestNoTextIsMissing(t *testing.T) {
	all := loadTexts()
	english := all["en"]
	for language, texts := range all {
		for name, text := range english {
			if other, ok := texts[name]; !ok {
				t.Errorf("%s has no text %s", language, name)
			} else if shape(other) != shape(text) {
				t.Errorf("%s: %s has %s, in English it has %s", language, name, shape(other), shape(text))
			}
		}
		for name, text := range texts {
			if _, ok := english[name]; !ok {
				t.Errorf("%s has a text %s that English has not", language, name)
			}
			if b, _ := json.Marshal(text); strings.Contains(string(b), `""`) {
				t.Errorf("%s: %s is empty", language, name)
			}
		}
	}
	var code strings.Builder
	for _, dir := range []string{"static", "."} {
		entries, err := fs.ReadDir(files, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if !entry.IsDir() {
				body, err := fs.ReadFile(files, strings.TrimPrefix(dir+"/"+entry.Name(), "./"))
				if err != nil {
					t.Fatal(err)
				}
				code.Write(body)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\bt\("([^"]+)"[,)]`).FindAllStringSubmatch(code.String(), -1) {
		if _, ok := english[m[1]]; !ok {
			t.Errorf("the page uses a text %s that there is not", m[1])
		}
	}
	for name := range english {
		prefix := name[:strings.LastIndex(name, ".")+1]
		if !strings.Contains(code.String(), `"`+name+`"`) && !strings.Contains(code.String(), "Text."+name) &&
			(prefix == "" || !strings.Contains(code.String(), `"`+prefix+`"`)) {
			t.Errorf("the text %s is not used", name)
		}
	}
}

func TestLanguageIsTheReadersOrTheBrowsers(t *testing.T) {
	h := served(t)
	for _, c := range []struct{ accept, cookie, want string }{
		{"", "", "en"},
		{"pt-BR,pt;q=0.9,en;q=0.8", "", "pt-BR"},
		{"pt", "", "pt-BR"},
		{"de, en;q=0.5, pt;q=0.4", "", "en"},
		{"fr", "", "en"},
		{"en", "pt-BR", "pt-BR"},
		{"pt", "en", "en"},
		{"pt", "x", "pt-BR"},
		{";;q=,q", "", "en"},
	} {
		headers := []string{"Accept-Language", c.accept}
		if c.cookie != "" {
			headers = append(headers, "Cookie", languageCookie+"="+c.cookie)
		}
		if body := read(t, ask(h, http.MethodGet, "/", headers...)); !strings.Contains(body, `<html lang="`+c.want+`">`) {
			t.Errorf("Accept-Language %q, cookie %q: want %s in %.60s", c.accept, c.cookie, c.want, body)
		}
	}
}
