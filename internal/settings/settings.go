// Package settings reads and changes what the service keeps about itself in the database: how long a status stands that
// no event renews. A change holds for all of history at once, since spans are made when they are asked for.
package settings

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/presence"
)

// Names are the names of the settings.
var Names = []string{"typing_timeout", "recording_timeout", "presence_timeout"}

// Settings are what holds everywhere, and what some instances have of their own.
type Settings struct {
	Default   presence.Timeouts
	Instances []Instance
}

// Instance is what an instance has of its own; a timeout of 0 is the default one.
type Instance struct {
	InstanceID string
	Own        presence.Timeouts
}

// Read returns the settings in force.
func Read(ctx context.Context, conn db.DBTX) (Settings, error) {
	q := db.New(conn)
	d, err := q.GetTimeouts(ctx)
	if err != nil {
		return Settings{}, err
	}
	s := Settings{Default: timeouts(d)}
	rows, err := q.ListInstanceTimeouts(ctx)
	for _, row := range rows {
		own := timeouts(db.GetTimeoutsRow{Typing: row.Typing, Recording: row.Recording, Presence: row.Presence})
		s.Instances = append(s.Instances, Instance{row.Name, own})
	}
	return s, err
}

// Set changes one setting by its name, of an instance or for "" of all that have none of their own. A value of 0 takes the
// instance's own away; others are from 1 s to 24 h.
func Set(ctx context.Context, pool *pgxpool.Pool, instanceID, name string, value time.Duration) error {
	if !slices.Contains(Names, name) {
		return fmt.Errorf("there is no setting %q; there are %v", name, Names)
	}
	if (value < time.Second || value > 24*time.Hour) && !(value == 0 && instanceID != "") {
		return fmt.Errorf("%s is %s; it may be from 1s to 24h", name, value)
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		s, err := Read(ctx, tx)
		if err != nil {
			return err
		}
		q := db.New(tx)
		if instanceID == "" {
			change(&s.Default, name, value)
			return q.SetTimeouts(ctx, s.Default.Typing.Microseconds(), s.Default.Recording.Microseconds(), s.Default.Presence.Microseconds())
		}
		if err := q.AddInstances(ctx, []string{instanceID}); err != nil {
			return err
		}
		var own presence.Timeouts
		for _, i := range s.Instances {
			if i.InstanceID == instanceID {
				own = i.Own
			}
		}
		change(&own, name, value)
		return q.SetInstanceTimeouts(ctx, own.Typing.Microseconds(), own.Recording.Microseconds(), own.Presence.Microseconds(), instanceID)
	})
}

func change(t *presence.Timeouts, name string, value time.Duration) {
	switch name {
	case "typing_timeout":
		t.Typing = value
	case "recording_timeout":
		t.Recording = value
	case "presence_timeout":
		t.Presence = value
	}
}

func timeouts(r db.GetTimeoutsRow) presence.Timeouts {
	return presence.Timeouts{
		Typing:    time.Duration(r.Typing) * time.Microsecond,
		Recording: time.Duration(r.Recording) * time.Microsecond,
		Presence:  time.Duration(r.Presence) * time.Microsecond,
	}
}
