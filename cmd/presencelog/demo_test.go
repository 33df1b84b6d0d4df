package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/presencelog/presencelog/internal/pgtest"
)

func TestServeDemo(t *testing.T) {
	t.Parallel()
	i := install(t)
	temp := filepath.Join(i.dir, "tmp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(i.dir, 0o755); err != nil { // PostgreSQL's own user has to get in
		t.Fatal(err)
	}
	i.env = append(i.env, "TMPDIR="+temp, "DATABASE_URL=postgres://nobody@127.0.0.1:1/nothing")
	url, serving := i.serve(t, "--demo")
	read := func(path string) string {
		res, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %v", path, res.Status, err)
		}
		return string(body)
	}
	if !strings.Contains(read("/"), `"demo":true`) {
		t.Error("the page does not say that the data are synthetic")
	}
	var now struct{ Counts map[string]int }
	if err := json.Unmarshal([]byte(read("/v1/now")), &now); err != nil {
		t.Fatal(err)
	}
	if here := now.Counts["AVAILABLE"] + now.Counts["PAUSED"] + now.Counts["COMPOSING"] + now.Counts["RECORDING"]; here == 0 || now.Counts["UNAVAILABLE"] == 0 {
		t.Errorf("the contacts are %v", now.Counts)
	}
	pgtest.Eventually(t, "live events arrive", func() bool { return !strings.Contains(read("/v1/status"), `"received":0,`) })
	serving.stop(t)
	if left, err := filepath.Glob(filepath.Join(temp, "presencelog-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v (%v)", left, err)
	}
	if _, err := os.Stat(filepath.Join(i.dir, "postgres")); err == nil {
		t.Error("it uses the data directory")
	}
	refused := i.command("serve", "--demo", "--listen", "0.0.0.0:0")
	if out, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(out), "this machine only") {
		t.Errorf("on every address: %s", out)
	}
}
