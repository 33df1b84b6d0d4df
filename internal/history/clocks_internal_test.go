package history

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/presencelog/presencelog/internal/pgtest"
)

// TestDaysBeginWithAQuarter: the view instance_daily adds up whole quarters of an hour.
func TestDaysBeginWithAQuarter(t *testing.T) {
	t.Parallel()
	rows, err := pgtest.New(t).Query(t.Context(), "SELECT name FROM pg_timezone_names")
	if err != nil {
		t.Fatal(err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) < 400 {
		t.Fatal(len(names), err)
	}
	for _, name := range names {
		loc, err := time.LoadLocation(name)
		if err != nil {
			continue // a name of PostgreSQL's own
		}
		for at := time.Date(2001, 1, 1, 0, 0, 0, 0, loc); at.Year() < 2040; {
			for day := at.Day() - 1; day <= at.Day()+1; day++ {
				if start := midnight(at.Year(), at.Month(), day, loc); !start.Equal(start.Truncate(15 * time.Minute)) {
					t.Errorf("in %s, a day begins at %s", name, start.UTC())
				}
			}
			_, at = at.ZoneBounds()
			if at.IsZero() {
				break
			}
		}
	}
}
