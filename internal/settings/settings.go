// Package settings reads and changes the settings in the database: timeouts, the time zone, and retention. A new timeout
// applies to the whole history: intervals are rebuilt in the same transaction.
package settings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/intervals"
)

// Setting is one setting.
type Setting struct {
	Name string
	Key  string // its name in JSON
	kind
	Default string // value of a new database and after Reset
}

// All is the list of settings.
var All = []Setting{
	{"typing_timeout", "typingTimeoutSeconds", timeout, "25s"},
	{"recording_timeout", "recordingTimeoutSeconds", timeout, "25s"},
	{"presence_timeout", "presenceTimeoutSeconds", timeout, "5m"},
	{"time_zone", "timeZone", zone, "UTC"},
	{"retention", "retentionSeconds", kept, "forever"},
	{"interval_retention", "intervalRetentionSeconds", kept, "forever"},
}

// Values maps names of settings to values as in the database.
type Values map[string]string

// Settings are the values for all instances, and the overrides of instances.
type Settings struct {
	Default   Values // of all settings
	Instances []Instance
}

// Instance has the overrides of an instance.
type Instance struct {
	InstanceID string
	Own        Values
}

// Read returns the current settings.
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

// Effective returns the value of a setting for an instance; "" means all that do not override it.
func (s Settings) Effective(instanceID, name string) string {
	for _, i := range s.Instances {
		if own, ok := i.Own[name]; ok && i.InstanceID == instanceID {
			return own
		}
	}
	return s.Default[name]
}

// Set changes a setting of an instance; "" means all that do not override it. text is what users write, like "90d".
func Set(ctx context.Context, pool *pgxpool.Pool, instanceID, name, text string) error {
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

// Reset removes the override of an instance; for "" it restores the default.
func Reset(ctx context.Context, pool *pgxpool.Pool, instanceID, name string) error {
	if instanceID == "" {
		for _, s := range All {
			if s.Name == name {
				return Set(ctx, pool, "", name, s.Default)
			}
		}
	}
	return change(ctx, pool, instanceID, name, "")
}

// CheckInstance returns an error if an instance does not exist; "" means all. Set and Reset create missing ones.
func CheckInstance(ctx context.Context, conn db.DBTX, instanceID string) error {
	if instanceID == "" {
		return nil
	}
	_, err := db.New(conn).FindInstance(ctx, instanceID)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("there is no instance %q; an instance is created by its first event", instanceID)
	}
	return err
}

func change(ctx context.Context, pool *pgxpool.Pool, instanceID, name, value string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		q := db.New(tx)
		if err := q.LockSettings(ctx); err != nil {
			return err
		}
		// An erasure has this lock before it deletes an instance.
		if strings.HasSuffix(name, "_timeout") {
			if _, err := q.RefreshLock(ctx); err != nil {
				return err
			}
		}
		if name == "time_zone" && value != "" {
			known, err := q.ZoneKnown(ctx, value)
			if err != nil {
				return err
			}
			if !known {
				return fmt.Errorf("time_zone is %q, which PostgreSQL does not know", value)
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
			err = q.SetSetting(ctx, db.SetSettingParams{Name: name, Value: value})
		} else {
			err = q.SetInstanceSetting(ctx, db.SetInstanceSettingParams{
				Name: name, Value: value, Instance: instanceID,
			})
		}
		if err != nil {
			return err
		}
		after, err := q.ListTimeouts(ctx)
		if err != nil {
			return err
		}
		// Intervals depend on the timeouts, so both change in one transaction.
		var changed []int32
		same := make(map[db.Timeout]bool, len(before))
		for _, t := range before {
			same[t] = true
		}
		for _, t := range after {
			if !same[t] {
				changed = append(changed, t.InstanceID)
			}
		}
		if len(changed) > 0 {
			if err := intervals.Rebuild(ctx, tx, changed, nil); err != nil {
				return err
			}
		}
		s, err := Read(ctx, tx)
		if err != nil {
			return err
		}
		return s.check()
	})
}

// check returns an error if intervals would be kept for a shorter time than events.
func (s Settings) check() error {
	for _, i := range append([]Instance{{"", nil}}, s.Instances...) {
		events, kept := s.Effective(i.InstanceID, "retention"), s.Effective(i.InstanceID, "interval_retention")
		if seconds(kept) < seconds(events) {
			of := ""
			if i.InstanceID != "" {
				of = " of instance " + i.InstanceID
			}
			return fmt.Errorf("interval_retention%s would be %s, which is shorter than retention, %s", of, ShowKept(kept), ShowKept(events))
		}
	}
	return nil
}
