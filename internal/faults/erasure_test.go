//go:build linux

package faults

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/presencelog/presencelog/internal/pgtest"
)

// traces says how a phone occurs in a text: as it is, or encoded as PostgreSQL and the spool write bytes.
func traces(text []byte, phone string) (found []string) {
	encoded := map[string][]byte{
		"as text": []byte(phone), "in hexadecimal": []byte(hex.EncodeToString([]byte(phone))),
	}
	for offset := range 3 { // base64 of a phone depends on its offset; the first and last characters depend on the text around it
		code := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + phone))
		encoded[fmt.Sprintf("in base64 at %d", offset)] = []byte(code[(offset*8+5)/6 : len(code)-1])
	}
	text = bytes.ToLower(text)
	for how, code := range encoded {
		if bytes.Contains(text, bytes.ToLower(code)) {
			found = append(found, how)
		}
	}
	return found
}

func TestTraceScannerEncodings(t *testing.T) {
	t.Parallel()
	const phone = "5544911223344"
	for _, before := range []string{"", "a", "ab", "abc"} {
		text := []byte(before + phone + `"}`)
		for _, encoded := range []string{string(text), hex.EncodeToString(text), base64.StdEncoding.EncodeToString(text)} {
			if len(traces([]byte(encoded), phone)) != 1 || traces([]byte(encoded), "5544911223399") != nil {
				t.Errorf("%s: found %q", encoded, traces([]byte(encoded), phone))
			}
		}
	}
}

// rowsOf returns all rows of all tables that are not PostgreSQL's own as text, and what its statistics have of them.
func rowsOf(t *testing.T, d *database) []byte {
	t.Helper()
	conn, err := d.connect()
	must(t, err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), `SELECT format('SELECT t::text FROM %s AS t', c.oid::regclass) FROM pg_class AS c
		WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
		UNION ALL SELECT 'SELECT t::text FROM pg_stats AS t'`)
	must(t, err)
	queries, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	var out bytes.Buffer
	for _, sql := range queries {
		rows, err := conn.Query(context.Background(), sql)
		must(t, err)
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		out.WriteString(sql + "\n" + strings.Join(texts, "\n") + "\n")
	}
	return out.Bytes()
}

// filesOf returns the files below a directory.
func filesOf(t *testing.T, dir string, skip ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			for _, s := range skip {
				if path == s {
					return fs.SkipDir
				}
			}
		case e.Type().IsRegular():
			content, err := os.ReadFile(path)
			if os.IsNotExist(err) { // a drained file of the spool, for example
				return nil
			}
			files[path] = content
			return err
		}
		return nil
	}))
	return files
}

// After an erasure no file of the data directory has the phone, nor a log, nor a dump; after the commands of docs/privacy.md
// neither have PostgreSQL's tables. The phone was in events, unknown fields, rejected payloads and the spool before.
func TestErasureLeavesNoTraceInFiles(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	const phone, other = "5544911223344", "5544955667788"
	s := newService(t, p, "", "--log-level=debug")
	socket := filepath.Join(s.dataDir, "postgres-socket")
	cluster := filepath.Join(s.dataDir, "postgres")
	d := &database{t: t, fixed: fmt.Sprintf("host=%s port=5432 user=postgres dbname=presencelog sslmode=disable", socket)}
	post := func(phone, status string, want int) (response string) {
		t.Helper()
		body := fmt.Sprintf(`{"type":"PresenceChatCallback","instanceId":"i","phone":"%s","status":"%s","participant":{"lid":"x","phone":"%s"}}`,
			phone, status, phone)
		res, err := client.Post("http://"+s.address()+"/webhooks/zapi", "application/json", strings.NewReader(body))
		must(t, err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		must(t, err)
		if res.StatusCode != want {
			t.Fatalf("%s: %s, want %d", body, res.Status, want)
		}
		return string(b)
	}
	run := func(args ...string) []byte {
		t.Helper()
		out, err := command(false, shared.program, append(args, "--data-dir", s.dataDir)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return out
	}
	for _, phone := range []string{phone, other} {
		post(phone, "COMPOSING", http.StatusOK)
		post(phone, "LISTENING", http.StatusUnprocessableEntity)
	}
	d.exec("ANALYZE")

	// Some of it passes through the spool.
	b, err := os.ReadFile(filepath.Join(cluster, "postmaster.pid"))
	must(t, err)
	postmaster, err := strconv.Atoi(strings.Fields(string(b))[0])
	must(t, err)
	signal := func(to syscall.Signal) {
		_ = syscall.Kill(postmaster, to) // first, so that it starts no more children
		for _, pid := range children(postmaster) {
			_ = syscall.Kill(pid, to)
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT) })
	for _, phone := range []string{phone, other} {
		post(phone, "PAUSED", http.StatusOK)
	}
	spooled := false
	for _, content := range filesOf(t, s.dataDir, cluster) {
		spooled = spooled || len(traces(content, phone)) > 0
	}
	if !spooled {
		t.Error("the spool does not have the phone while PostgreSQL is frozen")
	}
	signal(syscall.SIGCONT)
	pgtest.Eventually(t, "the spool is empty", func() bool { return s.healthy() && len(s.segments()) == 0 })
	if found := traces(rowsOf(t, d), phone); len(found) != 2 {
		t.Errorf("before the erasure, the rows have the phone %q; want it as text and in hexadecimal", found)
	}

	run("erase", "i", phone, "--block", "--yes")
	pgtest.Eventually(t, "the contact is not collected again", func() bool {
		return strings.Contains(post(phone, "AVAILABLE", http.StatusOK), "ignored")
	})
	pgtest.Eventually(t, "none of it is in the spool", func() bool { return len(s.segments()) == 0 })
	run("erase", "i", phone, "--block", "--yes")
	rows := rowsOf(t, d)
	places := filesOf(t, s.dataDir, cluster)
	if places[filepath.Join(s.dataDir, "postgres.log")] == nil {
		t.Error("PostgreSQL has no log")
	}
	places["the rows"], places["the export"] = rows, run("export")
	places["the service's log"], err = os.ReadFile(s.log())
	must(t, err)
	for place, content := range places {
		if found := traces(content, phone); len(found) > 0 {
			t.Errorf("after the erasure, %s has the phone %q", place, found)
		}
	}
	if found := traces(rows, other); len(found) != 2 {
		t.Errorf("the other contact is found only %q", found)
	}

	psql := func(name string, args ...string) (out []byte, err error) {
		cmd := command(true, filepath.Join(shared.bin, name), args...)
		cmd.Env = append(cmd.Env, "PGHOST="+socket, "PGUSER=postgres", "PGDATABASE=presencelog")
		return cmd.CombinedOutput()
	}
	t.Run("dump", func(t *testing.T) {
		if _, err := os.Stat(filepath.Join(shared.bin, "pg_dump")); err != nil {
			t.Skip("pg_dump is not installed beside PostgreSQL; its output was not searched")
		}
		dump, err := psql("pg_dump")
		if err != nil {
			t.Fatalf("%v: %s", err, dump)
		}
		if found := traces(dump, phone); len(found) > 0 {
			t.Errorf("the dump has the phone %q", found)
		}
		if found := traces(dump, other); len(found) != 2 {
			t.Errorf("the dump has the other contact only %q", found)
		}
	})
	t.Run("tables", func(t *testing.T) {
		doc, err := os.ReadFile("../../docs/privacy.md")
		must(t, err)
		statements := regexp.MustCompile(`(?s)psql[^\n]*-c '(VACUUM .*?)'\n`).FindSubmatch(doc)
		if statements == nil {
			t.Fatal("docs/privacy.md has no VACUUM")
		}
		d.exec(strings.Split(regexp.MustCompile(`'[\s\\]+-c '`).ReplaceAllString(string(statements[1]), ";"), ";")...)
		for path, content := range filesOf(t, filepath.Join(cluster, "base")) {
			if found := traces(content, phone); len(found) > 0 {
				t.Errorf("%s has the phone %q", path, found)
			}
		}
	})
	s.stop()
}
