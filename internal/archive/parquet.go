package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/parquet-go/parquet-go"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/presence"
)

// A row group is buffered until it has this many rows or bytes, so memory does not grow with the number of rows.
var groupRows = 100_000 // tests make it smaller

const (
	groupBytes = 16 << 20
	batchRows  = 1000
)

// parquetEvent is a row of analytics.events. The columns are an interface: docs/analytics.md documents them.
type parquetEvent struct {
	InstanceID string    `parquet:"instance_id,dict"`
	Phone      string    `parquet:"phone,dict"`
	ReceivedAt time.Time `parquet:"received_at,timestamp(microsecond)"`
	Status     string    `parquet:"status,dict"`
	LastSeen   *int64    `parquet:"last_seen,optional"`
	Extra      *string   `parquet:"extra,optional"`
	EventID    string    `parquet:"event_id"`
}

// The view's event_id would take most of the time.
const selectEvents = `
SELECT i.name, c.phone, e.received_at, e.status, e.last_seen, e.extra::text, e.seq
FROM events AS e
INNER JOIN contacts AS c ON c.id = e.contact_id
INNER JOIN instances AS i ON i.id = c.instance_id
WHERE e.received_at >= $1 AND e.received_at < $2 AND ($3 = '' OR i.name = $3)
ORDER BY e.received_at, e.contact_id, e.seq`

func scanEvent(row pgx.CollectableRow) (e presence.Event, err error) {
	err = row.Scan(&e.InstanceID, &e.Phone, &e.ReceivedAt, &e.Status, &e.LastSeen, &e.Extra, &e.Seq)
	return e, err
}

func scanParquetEvent(row pgx.CollectableRow) (parquetEvent, error) {
	e, err := scanEvent(row)
	r := parquetEvent{
		InstanceID: e.InstanceID, Phone: e.Phone, ReceivedAt: e.ReceivedAt, Status: e.Status.String(), LastSeen: e.LastSeen,
		EventID: presence.EventID(e.ReceivedAt, e.Seq),
	}
	if e.Extra != nil {
		r.Extra = new(string(e.Extra))
	}
	return r, err
}

// parquetInterval is a row of analytics.intervals.
type parquetInterval struct {
	InstanceID       string     `parquet:"instance_id,dict"`
	Phone            string     `parquet:"phone,dict"`
	Measure          string     `parquet:"measure,dict"`
	StartedAt        time.Time  `parquet:"started_at,timestamp(microsecond)"`
	EndedAt          *time.Time `parquet:"ended_at,optional,timestamp(microsecond)"`
	Seconds          float64    `parquet:"seconds"`
	ConfirmedSeconds float64    `parquet:"confirmed_seconds"`
	Events           int64      `parquet:"events"`
	EndedBy          string     `parquet:"ended_by,dict"`
}

const selectIntervals = `
SELECT
    instance_id, phone, measure, started_at, ended_at, seconds::double precision, confirmed_seconds::double precision,
    events::bigint, ended_by
FROM analytics.intervals
WHERE started_at >= $1 AND started_at < $2 AND ($3 = '' OR instance_id = $3)
ORDER BY started_at, instance_id, phone, measure`

// ExportParquet writes the selected events, and the intervals that start in the range, to a new or empty directory:
// events_YYYY_MM.parquet and intervals_YYYY_MM.parquet for each month (UTC) with rows, from one snapshot. It returns the number
// of rows. progress, if not nil, is called with the number of rows written so far.
func ExportParquet(
	ctx context.Context, pool *pgxpool.Pool, dir string, what Selection, progress func(int64),
) (written int64, err error) {
	if progress == nil {
		progress = func(int64) {}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { // files have phones in them
		return 0, err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty", dir)
	}
	if err != nil {
		return 0, err
	}
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, pool, snapshot, func(tx pgx.Tx) error {
		scanEvent, scanInterval := scanParquetEvent, pgx.RowToStructByPos[parquetInterval]
		if what.Pseudonyms {
			names, err := newPseudonyms(ctx, tx)
			if err != nil {
				return err
			}
			scanEvent = func(row pgx.CollectableRow) (parquetEvent, error) {
				r, err := scanParquetEvent(row)
				r.Phone, r.Extra = names.of(r.Phone), nil
				return r, err
			}
			scanInterval = func(row pgx.CollectableRow) (parquetInterval, error) {
				r, err := pgx.RowToStructByPos[parquetInterval](row)
				r.Phone = names.of(r.Phone)
				return r, err
			}
		}
		count := func() {
			written++
			progress(written)
		}
		return what.eachMonth(ctx, tx, func(month time.Time, in history.Range) error {
			name := month.Format("_2006_01.parquet")
			query := func(sql string) (pgx.Rows, error) { return tx.Query(ctx, sql, in.From, in.To, what.InstanceID) }
			if err := writeParquet(query, selectEvents, scanEvent, filepath.Join(dir, "events"+name), count); err != nil {
				return err
			}
			return writeParquet(query, selectIntervals, scanInterval, filepath.Join(dir, "intervals"+name), count)
		})
	})
	return written, err
}

// eachMonth calls do for each month (UTC) that may have rows, with the part of it that is selected.
func (what Selection) eachMonth(ctx context.Context, tx pgx.Tx, do func(month time.Time, in history.Range) error) error {
	q := db.New(tx)
	if what.InstanceID != "" {
		_, err := q.FindInstance(ctx, what.InstanceID)
		if errors.Is(err, pgx.ErrNoRows) {
			err = &history.NotFoundError{InstanceID: what.InstanceID}
		}
		if err != nil {
			return err
		}
	}
	months, err := q.PartitionMonths(ctx)
	if err != nil {
		return err
	}
	for _, m := range months {
		if in, some := what.within(m.Time); some {
			if err := do(m.Time.UTC(), in); err != nil {
				return err
			}
		}
	}
	return nil
}

// within returns the part of the selected range that lies in a month.
func (what Selection) within(month time.Time) (in history.Range, some bool) {
	in = history.Range{From: presence.Later(what.Range.From, month.UTC()), To: month.UTC().AddDate(0, 1, 0)}
	if !what.Range.To.IsZero() {
		in.To = presence.Earlier(what.Range.To, in.To)
	}
	return in, in.From.Before(in.To)
}

// writeParquet writes the rows of a query to a file, which appears when it is complete. Without rows there is no file.
func writeParquet[T any](
	query func(string) (pgx.Rows, error), sql string, scan pgx.RowToFunc[T], path string, count func(),
) (err error) {
	rows, err := query(sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err == nil {
			err = os.Rename(path+".tmp", path)
		} else if gone := os.Remove(path + ".tmp"); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}()
	w := parquet.NewGenericWriter[T](file, parquet.Compression(&parquet.Zstd))
	bytes, grouped := 0, 0
	batch := make([]T, 0, batchRows)
	for more := true; more; {
		row, err := scan(rows)
		if err != nil {
			return err
		}
		for _, value := range rows.RawValues() {
			bytes += len(value)
		}
		batch = append(batch, row)
		grouped++
		count()
		more = rows.Next()
		full := grouped >= groupRows || bytes >= groupBytes
		if full || !more || len(batch) == batchRows {
			if _, err := w.Write(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if full {
			if err := w.Flush(); err != nil {
				return err
			}
			bytes, grouped = 0, 0
		}
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Sync()
}
