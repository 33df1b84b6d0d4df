package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/rollup"
	"github.com/presencelog/presencelog/internal/simulate"
)

// Scale measures how questions are answered as history grows.
type Scale struct {
	Database string  // connection string of a PostgreSQL to make databases on
	Dir      string  // where a copy of the events may lie meanwhile
	Events   []int64 // sizes of history
	Contacts int     // of one instance
	Days     int     // over which the events are spread
	Progress func(string)
}

const (
	replicas       = 20  // of each made-up contact, shifted in time: making up all would take longer than all else
	panelContacts  = 500 // who are the same at all sizes, so that their timelines can be compared
	panelPerDay    = 2.2 // events of each
	repetitions    = 5
	rawRepetitions = 3
	topContacts    = 100
)

// Figure is one line of the table: a value for each size.
type Figure struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"`
}

// Growth is the last value as a multiple of the first.
func (f Figure) Growth() float64 { return f.Values[len(f.Values)-1] / f.Values[0] }

// Run makes a history of each size and measures it.
func (c Scale) Run(ctx context.Context) (figures []Figure, err error) {
	server, err := openServer(ctx, c.Database)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := server.close(); err == nil {
			err = closeErr
		}
	}()
	for size, events := range c.Events {
		m := &scaled{Scale: c, events: events, to: presence.Now().Truncate(time.Second)}
		m.tell = func(what string) { c.Progress(fmt.Sprintf("%d events: %s", events, what)) }
		if err := m.measure(ctx, server); err != nil {
			return nil, fmt.Errorf("%d events: %w", events, err)
		}
		for i, f := range m.figures {
			if size == 0 {
				figures = append(figures, Figure{Name: f.Name, Unit: f.Unit})
			}
			figures[i].Values = append(figures[i].Values, f.Values[0])
		}
	}
	return figures, nil
}

// scaled is the measurement of one size.
type scaled struct {
	Scale
	events  int64
	to      time.Time // where the history ends; the clock stands still there
	tell    func(string)
	pool    *pgxpool.Pool
	reader  *history.Reader
	figures []Figure
}

func (m *scaled) figure(name, unit string, value float64) {
	m.figures = append(m.figures, Figure{name, unit, []float64{value}})
}

var scaleInstance = simulate.InstanceIDs(1, 1)[0]

func (m *scaled) measure(ctx context.Context, server *server) error {
	pool, err := m.database(ctx, server, "scale")
	if err != nil {
		return err
	}
	defer pool.Close()
	m.pool, m.reader = pool, history.NewReader(pool, func() time.Time { return m.to })

	m.tell("making up")
	imported, err := m.fill(ctx)
	if err != nil {
		return err
	}
	m.tell("copying")
	copied, err := m.bareCopy(ctx, server)
	if err != nil {
		return err
	}
	m.figure("import", "events/s", imported)
	m.figure("bare COPY of the same rows", "events/s", copied)
	m.figure("import as a multiple of COPY", "", imported/copied)

	m.tell("rolling up")
	began := time.Now()
	if err := rollup.Rebuild(ctx, pool, presence.Now, func(_, _ time.Duration) {}); err != nil {
		return err
	}
	m.figure("rolling up", "µs/event", float64(time.Since(began).Microseconds())/float64(m.events))
	if _, err := pool.Exec(ctx, "VACUUM ANALYZE rollups"); err != nil {
		return err
	}
	q := db.New(pool)
	stats, err := q.Stats(ctx)
	if err != nil {
		return err
	}
	rollups, err := q.RollupBytes(ctx)
	if err != nil {
		return err
	}
	bytes := float64(stats.TableBytes + stats.IndexBytes)
	m.figure("events on disk, with indexes", "bytes/event", bytes/float64(stats.Events))
	m.figure("rollups on top", "%", 100*float64(rollups)/bytes)

	for _, step := range []func(context.Context) error{m.timelines, m.typingNow, m.durations, m.heatmap, m.top} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *scaled) database(ctx context.Context, server *server, purpose string) (*pgxpool.Pool, error) {
	conn, err := server.create(ctx, purpose)
	if err != nil {
		return nil, err
	}
	pool, err := postgres.Connect(ctx, conn, "bench", 4)
	if err != nil {
		return nil, err
	}
	return pool, postgres.Up(ctx, pool)
}

// fill imports the history and returns how many events a second that took.
func (m *scaled) fill(ctx context.Context) (perSecond float64, err error) {
	file, err := os.Create(filepath.Join(m.Dir, "history.ndjson"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := m.write(file); err != nil {
		return 0, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	m.tell("importing")
	began := time.Now()
	count, err := archive.Import(ctx, m.pool, file, func(int64, error) {}, nil)
	if err == nil && count.Added != m.events {
		err = fmt.Errorf("%d events were made up, %d imported (%d broken)", m.events, count.Added, count.Broken)
	}
	if err != nil {
		return 0, err
	}
	perSecond = float64(m.events) / time.Since(began).Seconds()
	m.tell("packing")
	return perSecond, count.Pack(ctx, m.pool)
}

// write writes the history as NDJSON: the panel, then the others, each in the order of time.
func (m *scaled) write(to io.Writer) error {
	out := bufio.NewWriterSize(to, 1<<20)
	var line []byte
	put := func(e presence.Event) error {
		line = gateway.AppendRecord(line[:0], e)
		_, err := out.Write(line)
		return err
	}
	from := m.to.AddDate(0, 0, -m.Days)
	panel := min(int(panelContacts*panelPerDay*float64(m.Days)), int(m.events/2))
	people := simulate.Config{Seed: 1, Contacts: panelContacts, Instances: []string{scaleInstance}}
	events, err := people.History(from, m.to, panel)
	if err != nil {
		return err
	}
	for e := range events {
		e.Phone = panelPhone(e.Phone)
		if err := put(e); err != nil {
			return err
		}
	}

	people = simulate.Config{Seed: 2, Contacts: (m.Contacts - panelContacts) / replicas, Instances: []string{scaleInstance}}
	left := m.events - int64(panel)
	if events, err = people.History(from.Add(time.Hour), m.to, int((left+replicas-1)/replicas)); err != nil {
		return err
	}
	for e := range events {
		for i := range min(replicas, left) {
			copied := e
			copied.Phone += fmt.Sprintf("%02d", i)
			copied.ReceivedAt = e.ReceivedAt.Add(-time.Duration(i) * 17 * time.Second)
			if err := put(copied); err != nil {
				return err
			}
		}
		left -= min(replicas, left)
	}
	return out.Flush()
}

func panelPhone(phone string) string { return "panel-" + phone }

// bareCopy copies the rows into a table that is the same, by COPY alone, and returns how many a second that took.
func (m *scaled) bareCopy(ctx context.Context, server *server) (perSecond float64, err error) {
	const columns = "contact_id, received_at, seq, status, last_seen, extra"
	file, err := os.Create(filepath.Join(m.Dir, "rows"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	from, err := m.pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer from.Release()
	_, err = from.Conn().PgConn().CopyTo(ctx, file,
		"COPY (SELECT "+columns+" FROM events ORDER BY received_at) TO STDOUT (FORMAT binary)")
	if err != nil {
		return 0, err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	pool, err := m.database(ctx, server, "copy")
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	var months []time.Time
	for at := m.to.AddDate(0, 0, -m.Days-1); at.Before(m.to.AddDate(0, 0, 1)); at = at.AddDate(0, 0, 1) {
		months = append(months, at)
	}
	if err := postgres.MakePartitions(ctx, pool, months...); err != nil {
		return 0, err
	}
	to, err := pool.Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer to.Release()
	began := time.Now()
	_, err = to.Conn().PgConn().CopyFrom(ctx, bufio.NewReaderSize(file, 1<<20), "COPY events ("+columns+") FROM STDIN (FORMAT binary)")
	return float64(m.events) / time.Since(began).Seconds(), err
}

func (m *scaled) timelines(ctx context.Context) error {
	m.tell("timelines")
	contacts, err := m.reader.Contacts(ctx, history.ContactsQuery{
		InstanceID: scaleInstance, Search: panelPhone(""), Limit: panelContacts,
	})
	if err != nil {
		return err
	}
	for _, days := range []int{1, 30} {
		var took []float64
		for round := range 2 { // the first one warms up
			for i, k := range contacts {
				to := m.to.AddDate(0, 0, -i%(m.Days-days))
				began := time.Now()
				_, err := m.reader.Timeline(ctx, scaleInstance, k.Phone, history.Range{From: to.AddDate(0, 0, -days), To: to}, time.Time{}, 1000)
				if err != nil {
					return err
				}
				if round > 0 {
					took = append(took, time.Since(began).Seconds()*1000)
				}
			}
		}
		slices.Sort(took)
		m.figure(fmt.Sprintf("timeline of a contact, days: %d, p50", days), "ms", took[len(took)/2])
		m.figure(fmt.Sprintf("timeline of a contact, days: %d, p99", days), "ms", took[len(took)*99/100])
	}
	return nil
}

func (m *scaled) typingNow(ctx context.Context) error {
	ask := history.ContactsQuery{InstanceID: scaleInstance, Statuses: []presence.Status{presence.Composing}, Limit: 1000}
	took, err := timed(repetitions, func() error {
		_, err := m.reader.Contacts(ctx, ask)
		return err
	})
	m.figure("who is typing now", "ms", took)
	return err
}

// month is the range of the questions about all contacts.
func (m *scaled) month() history.Range { return history.Range{From: m.to.AddDate(0, 0, -30), To: m.to} }

// rawHours is the time that all contacts typed in each hour since 1970, by the window function.
func (m *scaled) rawHours(ctx context.Context) (map[int64]float64, error) {
	rows, err := db.New(m.pool).RawTypingByHour(ctx, db.Time(m.month().To), db.Time(m.month().From))
	hours := make(map[int64]float64, len(rows))
	for _, row := range rows {
		hours[row.Hour] = float64(row.Micros) / 1e6
	}
	return hours, err
}

func (m *scaled) durations(ctx context.Context) error {
	m.tell("typing per day")
	var raw, rolled []float64
	if err := m.against(ctx, "typing of all contacts per day, 30 days", func() error {
		d, err := m.reader.InstanceDurations(ctx, scaleInstance, history.Calendar{Range: m.month(), Bucket: history.Day, Zone: time.UTC})
		rolled = rolled[:0]
		for _, b := range d.Buckets {
			rolled = append(rolled, b.Typing.Seconds)
		}
		return err
	}, func() error {
		hours, err := m.rawHours(ctx)
		raw = make([]float64, len(rolled))
		first := m.month().From.Unix() / 86400
		for hour, seconds := range hours {
			raw[hour/24-first] += seconds
		}
		return err
	}); err != nil {
		return err
	}
	return same(rolled, raw)
}

func (m *scaled) heatmap(ctx context.Context) error {
	m.tell("heat map")
	raw, rolled := make([]float64, 168), make([]float64, 168)
	if err := m.against(ctx, "heat map of typing, 30 days", func() error {
		cells, err := m.reader.Heatmap(ctx, scaleInstance, presence.MeasureTyping, m.month(), time.UTC)
		for i, c := range cells {
			rolled[i] = c.Seconds
		}
		return err
	}, func() error {
		hours, err := m.rawHours(ctx)
		clear(raw)
		for hour, seconds := range hours {
			at := time.Unix(hour*3600, 0).UTC()
			raw[(int(at.Weekday())+6)%7*24+at.Hour()] += seconds
		}
		return err
	}); err != nil {
		return err
	}
	return same(rolled, raw)
}

func (m *scaled) top(ctx context.Context) error {
	m.tell("top contacts")
	var raw, rolled []float64
	if err := m.against(ctx, "top 100 by typing, 30 days", func() error {
		ranks, err := m.reader.Top(ctx, scaleInstance, presence.MeasureTyping, false, m.month(), topContacts)
		rolled = rolled[:0]
		for _, r := range ranks {
			rolled = append(rolled, r.Seconds)
		}
		return err
	}, func() error {
		rows, err := db.New(m.pool).RawTypingByContact(ctx, db.Time(m.month().To), db.Time(m.month().From), topContacts)
		raw = raw[:0]
		for _, row := range rows {
			raw = append(raw, float64(row.Micros)/1e6)
		}
		return err
	}); err != nil {
		return err
	}
	return same(rolled, raw)
}

// against times the same question as the service answers it, and as a window function over the events does.
func (m *scaled) against(_ context.Context, name string, service, raw func() error) error {
	ours, err := timed(repetitions, service)
	if err != nil {
		return err
	}
	theirs, err := timed(rawRepetitions, raw)
	if err != nil {
		return err
	}
	m.figure(name, "ms", ours)
	m.figure("— by a window over the events", "ms", theirs)
	m.figure("— how many times as long that is", "", theirs/ours)
	return nil
}

// timed returns the median of how long something takes, in milliseconds, after a first time that does not count.
func timed(times int, do func() error) (ms float64, err error) {
	var took []float64
	for i := range times + 1 {
		began := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		if i > 0 {
			took = append(took, time.Since(began).Seconds()*1000)
		}
	}
	return median(took, func(x float64) float64 { return x }), nil
}

func same(a, b []float64) error {
	if !slices.EqualFunc(a, b, func(a, b float64) bool { return a-b < 1e-3 && b-a < 1e-3 }) {
		return fmt.Errorf("the answers differ: %v and by the window function %v", a, b)
	}
	return nil
}

// WriteScale writes the table for people, or if asked for as Markdown.
func WriteScale(w io.Writer, c Scale, figures []Figure, markdown bool) error {
	head := []string{""}
	for _, n := range c.Events {
		head = append(head, thousands(n)+" events")
	}
	lines := [][]string{append(head, "growth")}
	for _, f := range figures {
		line := []string{strings.TrimSuffix(f.Name+", "+f.Unit, ", ")}
		for _, v := range f.Values {
			line = append(line, short(v))
		}
		lines = append(lines, append(line, fmt.Sprintf("%.2f", f.Growth())))
	}
	if markdown {
		for i, line := range lines {
			fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
			if i == 0 {
				fmt.Fprintf(w, "| ---%s |\n", strings.Repeat(" | ---:", len(line)-1))
			}
		}
		return nil
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range lines {
		fmt.Fprintln(out, strings.Join(line, "\t")+"\t")
	}
	return out.Flush()
}

func short(v float64) string {
	switch {
	case v >= 100:
		return thousands(int64(v + 0.5))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
