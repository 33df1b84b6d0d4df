// Package settings reads and changes what the service keeps about itself in the database: how long a status stands that
// no event renews, how long history is kept, and whose days count. A change of a timeout holds for all of history at once,
// since spans are made when they are asked for.
package settings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
)

// Setting is one of the settings.
type Setting struct {
	Name string
	Key  string // its name in JSON
	kind
}

// All are the settings there are.
var All = []Setting{
	{"typing_timeout", "typingTimeoutSeconds", timeout},
	{"recording_timeout", "recordingTimeoutSeconds", timeout},
	{"presence_timeout", "presenceTimeoutSeconds", timeout},
	{"time_zone", "timeZone", zone},
	{"retention", "retentionSeconds", kept},
	{"rollup_retention", "rollupRetentionSeconds", kept},
}

// Values are the values of settings by their names, as the database has them.
type Values map[string]string

// Settings are what holds everywhere, and what some instances have of their own.
type Settings struct {
	Default   Values // of all settings
	Instances []Instance
}

// Instance is what an instance has of its own.
type Instance struct {
	InstanceID string
	Own        Values
}

// Read returns the settings in force.
func Read(ctx context.Context, conn db.DBTX) (Settings, error) {
	s := Settings{Default: Values{}}
	rows, err := db.New(conn).ListSettings(ctx)
	for _, row := range rows {
		of := s.Default
		if row.Instance != "" {
			if n := len(s.Instances); n == 0 || s.Instances[n-1].InstanceID != row.Instance {
				s.Instances = append(s.Instances, Instance{row.Instance, Values{}})
			}
			of = s.Instances[len(s.Instances)-1].Own
		}
		of[row.Name] = row.Value
	}
	return s, err
}

// Set changes one setting that is a length of time, as SetText does; 0 takes the instance's own away.
func Set(ctx context.Context, pool *pgxpool.Pool, instanceID, name string, value time.Duration) error {
	if value == 0 && instanceID != "" {
		return Reset(ctx, pool, instanceID, name)
	}
	return SetText(ctx, pool, instanceID, name, value.String())
}

// SetText changes one setting by its name, of an instance or for "" of all that have none of their own. The text is what
// people write.
func SetText(ctx context.Context, pool *pgxpool.Pool, instanceID, name, text string) error {
	i := slices.IndexFunc(All, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return fmt.Errorf("there is no setting %q", name)
	}
	value, err := All[i].parse(text)
	if err != nil {
		return fmt.Errorf("%s is %w", name, err)
	}
	return change(ctx, pool, instanceID, name, value)
}

// Reset takes an instance's own setting away.
func Reset(ctx context.Context, pool *pgxpool.Pool, instanceID, name string) error {
	return change(ctx, pool, instanceID, name, "")
}

func change(ctx context.Context, pool *pgxpool.Pool, instanceID, name, value string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := q.LockSettings(ctx); err != nil {
			return err
		}
		if name == "time_zone" && value != "" {
			if known, err := q.ZoneKnown(ctx, value); err != nil || !known {
				return errors.Join(err, fmt.Errorf("time_zone is %q, which PostgreSQL does not know", value))
			}
		}
		if instanceID != "" {
			if err := q.AddInstances(ctx, []string{instanceID}); err != nil {
				return err
			}
		}
		before, err := q.ListTimeouts(ctx)
		if err != nil {
			return err
		}
		if instanceID == "" {
			err = q.SetSetting(ctx, name, value)
		} else {
			err = q.SetInstanceSetting(ctx, name, value, instanceID)
		}
		if err != nil {
			return err
		}
		after, err := q.ListTimeouts(ctx)
		if err != nil {
			return err
		}
		for _, t := range after {
			if !slices.Contains(before, t) { // what is rolled up was made with other timeouts
				if err := q.MarkAllStale(ctx, &t.InstanceID); err != nil {
					return err
				}
			}
		}
		s, err := Read(ctx, tx)
		if err != nil {
			return err
		}
		return s.check()
	})
}

// check refuses to keep rollups for a shorter time than the events that they can be made of anew.
func (s Settings) check() error {
	for _, i := range append([]Instance{{"", nil}}, s.Instances...) {
		inForce := func(name string) string {
			if own, ok := i.Own[name]; ok {
				return own
			}
			return s.Default[name]
		}
		events, rollups := inForce("retention"), inForce("rollup_retention")
		if seconds(rollups) < seconds(events) {
			of := ""
			if i.InstanceID != "" {
				of = " of instance " + i.InstanceID
			}
			return fmt.Errorf("rollup_retention%s would be %s, which is shorter than retention, %s", of, showKept(rollups), showKept(events))
		}
	}
	return nil
}
