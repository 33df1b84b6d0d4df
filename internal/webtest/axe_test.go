//go:build browser

package webtest

import (
	"os"
	"strings"
	"testing"
)

// violations runs axe-core on what the page shows.
func (tb *tab) violations() []string {
	tb.t.Helper()
	path := os.Getenv("PRESENCELOG_AXE")
	script, err := os.ReadFile(path)
	if err != nil {
		tb.t.Fatalf("this test needs axe-core: npm install --prefix /tmp/axe axe-core, then set PRESENCELOG_AXE to "+
			"/tmp/axe/node_modules/axe-core/axe.min.js (%v)", err)
	}
	js[bool](tb, string(script)+"; true")
	return js[[]string](tb, `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] })
		.then((r) => r.violations.map((v) => v.id + ": " + v.help + "\n" + v.nodes.map((n) => "    " + n.html + "\n      " + n.failureSummary).join("\n")))`)
}

func TestPageHasNoAccessibilityViolations(t *testing.T) {
	base := startDemo(t)
	tb := open(t, base, options{})
	views := demoViews(tb)
	for _, look := range []options{{}, {dark: true}, {width: 390, height: 844, touch: true, language: "pt-BR"}} {
		tb := open(t, base, look)
		for _, view := range views {
			tb.visit(view.path)
			tb.until(view.ready)
			js[bool](tb, `document.querySelectorAll("main details").forEach((d) => { d.open = true; }), true`)
			tb.until(`!document.querySelector("details.spans") || document.querySelector("details.spans p").textContent`)
			if found := tb.violations(); len(found) > 0 {
				t.Errorf("%s, %+v:\n%s", view.name, look, strings.Join(found, "\n"))
			}
		}
	}
}
