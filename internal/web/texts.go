package web

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// texts are the texts of the page in one language: each is a string, or one for each plural form.
type texts map[string]any

// languages are the languages with a file of texts, the default first.
var languages = []string{"en", "pt-BR"}

// languageCookie is the cookie with the language chosen on the page.
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

// pickLanguage returns the language chosen on the page, or else the first supported one that the browser accepts.
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
