package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/archive"
	"github.com/presencelog/presencelog/internal/gateway"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/intervals"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
	"github.com/presencelog/presencelog/internal/simulate"
)

// Scale measures the queries of the read API as history grows.
type Scale struct {
	Database string  // connection string of a PostgreSQL where databases can be created
	Dir      string  // for a temporary copy of the events
	Events   []int64 // sizes of history
	Contacts int     // of one instance
	Days     int     // over which the events are spread
	Progress func(string)
}

const (
	replicas       = 20  // of each generated contact, shifted in time: generating all contacts would take too long
	panelContacts  = 500 // the same at all sizes, so that their timelines can be compared
	panelPerDay    = 2.2 // events of each
	repetitions    = 5
	rawRepetitions = 3
	topContacts    = 100
)

// Figure is one row of the table: a value for each size.
type Figure struct {
	Name, Unit string
	Values     []float64
}

// Run generates a history of each size and measures it.
func (c Scale) Run(ctx context.Context) (figures []Figure, err error) {
	server, err := openServer(ctx, c.Database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.close()) }()
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
	to      time.Time // end of the history; the clock is fixed there
	tell    func(string)
	pool    *pgxpool.Pool
	reader  *history.Reader
	figures []Figure

	panel []string // phones

	typingHours  map[int64]float64 // seconds in each hour since 1970, by the window function …
	rawHoursTook float64           // … and how long that took it, in milliseconds
}

func (m *scaled) figure(name, unit string, value float64) {
	m.tell(strings.TrimSuffix(name+": "+short(value)+" "+unit, " "))
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

	m.tell("generating")
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

	m.tell("storing intervals")
	began := time.Now()
	if err := intervals.Refresh(ctx, pool, presence.Now, 0); err != nil {
		return err
	}
	m.figure("storing intervals", "µs/event", float64(time.Since(began).Microseconds())/float64(m.events))
	m.tell("reindexing")
	if err := postgres.Reindex(ctx, pool); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, "VACUUM intervals, contact_states"); err != nil {
		return err
	}
	q := db.New(pool)
	stats, err := q.Stats(ctx)
	if err != nil {
		return err
	}
	bytes := float64(stats.TableBytes + stats.IndexBytes)
	m.figure("events on disk, with indexes", "bytes/event", bytes/float64(stats.Events))
	m.figure("intervals on top, with indexes", "bytes/event", float64(stats.IntervalBytes)/float64(stats.Events))

	contacts, err := m.reader.Contacts(ctx, history.ContactsQuery{InstanceID: scaleInstance, Search: panelPhone(""), Limit: panelContacts})
	if err != nil {
		return err
	}
	for _, c := range contacts {
		m.panel = append(m.panel, c.Phone)
	}
	for _, step := range []func(context.Context) error{
		m.timelines, m.typingNow, m.rawHours, m.durations, m.heatmap, m.top, m.contacts, m.views, m.lateBatch,
	} {
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

// fill imports the history and returns the rate in events per second.
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
		err = fmt.Errorf("%d events were generated, %d imported (%d invalid)", m.events, count.Added, count.Invalid)
	}
	return float64(m.events) / time.Since(began).Seconds(), err
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

// bareCopy copies the rows into an identical table with COPY and returns the rate in rows per second.
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
