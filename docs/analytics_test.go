package docs_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/internal/analyst"
	"github.com/presencelog/presencelog/internal/ingest"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

var update = flag.Bool("update", false, "rewrite the outputs in docs/analytics.md")

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// connect connects as a new analyst.
func connect(t *testing.T, pool *pgxpool.Pool, instances ...string) *pgx.Conn {
	t.Helper()
	config := pool.Config().ConnConfig.Copy()
	config.User, config.Password = fmt.Sprintf("reader_%x", rand.Uint64()), "secret"
	reader := analyst.Analyst{Name: config.User, Instances: instances}
	if err := analyst.Create(t.Context(), pool, reader, analyst.Login{Password: config.Password, StatementTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := analyst.Drop(context.Background(), pool, reader.Name); err != nil {
			t.Error(err)
		}
	})
	config.RuntimeParams = map[string]string{"timezone": "UTC"}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// month stores what docs/analytics.md says: the month that simulate --days 30 --to 2026-11-01T00:00:00-03:00 makes.
func month(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	loc, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	to := time.Date(2026, 11, 1, 0, 0, 0, 0, loc)
	from := to.AddDate(0, 0, -30)
	traffic := simulate.Config{Seed: 1, Contacts: 200, Instances: simulate.InstanceIDs(1, 1), Location: loc}
	events, err := traffic.History(from, to, traffic.NaturalEvents(from, to))
	if err != nil {
		t.Fatal(err)
	}
	for chunk := range slices.Chunk(slices.Collect(events), 10_000) {
		if _, err := ingest.NewStore(pool).Merge(t.Context(), chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := intervals.Refresh(t.Context(), pool, presence.Now, 0); err != nil {
		t.Fatal(err)
	}
}

// typesNow lets somebody of that month begin to type.
func typesNow(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	now := presence.Event{
		InstanceID: simulate.InstanceIDs(1, 1)[0], Phone: "553960076198", Status: presence.Composing, ReceivedAt: presence.Now(),
	}
	if _, err := ingest.NewStore(pool).Merge(t.Context(), []presence.Event{now}); err != nil {
		t.Fatal(err)
	}
}

// TestDocs runs every query of docs/analytics.md and compares its result with the one printed there.
func TestDocs(t *testing.T) {
	t.Parallel()
	const file = "analytics.md"
	pool := pgtest.New(t)
	month(t, pool)
	conn := connect(t, pool, simulate.InstanceIDs(1, 1)...)
	pgtest.Exec(t, conn, "SET timezone = 'America/Sao_Paulo'")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	typesNow(t, pool)
	n := 0
	question := regexp.MustCompile("(?s)```sql\n(.*?)```\n\n```\n(.*?)```\n")
	now := question.ReplaceAllStringFunc(string(doc), func(block string) string {
		n++
		m := question.FindStringSubmatch(block)
		output := psql(t, conn, m[1])
		if output != m[2] && !*update {
			t.Errorf("%s\ngives\n%s\nnot\n%s", m[1], output, m[2])
		}
		return "```sql\n" + m[1] + "```\n\n```\n" + output + "```\n"
	})
	if blocks := strings.Count(string(doc), "```sql\n"); n != blocks || n < 12 {
		t.Errorf("%d of %d questions have an output", n, blocks)
	}
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// psql runs a query and formats its result as psql does.
func psql(t *testing.T, conn *pgx.Conn, sql string) string {
	t.Helper()
	started := time.Now()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if took := time.Since(started); took > 2*time.Second {
		t.Logf("%s took %s", sql, took)
	}
	r := results[len(results)-1]
	if len(r.Rows) == 0 {
		t.Errorf("%s\ngives nothing", sql)
	}
	width := make([]int, len(r.FieldDescriptions))
	for i, f := range r.FieldDescriptions {
		width[i] = len(f.Name)
		for _, row := range r.Rows {
			width[i] = max(width[i], utf8.RuneCount(row[i]))
		}
	}
	var out strings.Builder
	line := func(separator, pad string, cell func(i int) string) {
		var cells []string
		for i := range width {
			cells = append(cells, pad+cell(i)+pad)
		}
		out.WriteString(strings.TrimRight(strings.Join(cells, separator), " ") + "\n")
	}
	line("|", " ", func(i int) string {
		name := r.FieldDescriptions[i].Name
		left := (width[i] - len(name)) / 2
		return fmt.Sprintf("%*s%-*s", left, "", width[i]-left, name)
	})
	line("+", "-", func(i int) string { return strings.Repeat("-", width[i]) })
	for _, row := range r.Rows {
		line("|", " ", func(i int) string {
			switch r.FieldDescriptions[i].DataTypeOID {
			case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float8OID, pgtype.NumericOID:
				return fmt.Sprintf("%*s", width[i], row[i])
			}
			return fmt.Sprintf("%-*s", width[i], row[i])
		})
	}
	rows := "rows"
	if len(r.Rows) == 1 {
		rows = "row"
	}
	fmt.Fprintf(&out, "(%d %s)\n", len(r.Rows), rows)
	return out.String()
}
