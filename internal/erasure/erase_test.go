package erasure

import "testing"

func TestContainsWordMatchesWholeWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"phone":"5544"}`: true, "5544": true, "from 5544@c.us": true, "a\xff5544\xff": true, "55440 5544": true,
		"": false, "55440": false, "15544": false, "55445544": false, "é5544": false, "554": false,
	} {
		if containsWord([]byte(text), "5544") != want {
			t.Errorf("%q: %t", text, !want)
		}
	}
	if containsWord([]byte("x"), "") {
		t.Error("an empty word is found")
	}
}
