package web

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// texts are what the page says in one language: under each name a string, or one for each plural form.
type texts map[string]any

// languages are those there is a file of texts for, the default first.
var languages = []string{"en", "pt-BR"}

// languageCookie is what the reader chose on the page.
const languageCookie = "presencelog-language"

func loadTexts() map[string]texts {
	all := map[string]texts{}
	for _, language := range languages {
		body, err := fs.ReadFile(files, "texts/"+language+".json")
		var t texts
		if err == nil {
			err = json.Unmarshal(body, &t)
		}
		if err != nil {
			panic("web: the texts of " + language + ": " + err.Error()) // they are in the binary, and tested
		}
		all[language] = t
	}
	return all
}

// pickLanguage returns the language that the reader chose, or else the first one that the browser asks for and we have.
func pickLanguage(r *http.Request) string {
	if c, err := r.Cookie(languageCookie); err == nil && slices.Contains(languages, c.Value) {
		return c.Value
	}
	best, weight := languages[0], 0.0
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if value, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(value, 64)
		}
		base, _, _ := strings.Cut(name, "-")
		for _, language := range languages {
			ours, _, _ := strings.Cut(language, "-")
			if strings.EqualFold(base, ours) && q > weight {
				best, weight = language, q
			}
		}
	}
	return best
}
