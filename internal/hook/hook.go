// Package hook sends status changes to other services. It gets them from package live, queues a message for each hook and
// change in the database, and sends it until the receiver accepts it. Messages follow Standard Webhooks
// (https://www.standardwebhooks.com).
package hook

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/history"
	"github.com/presencelog/presencelog/internal/postgres"
	"github.com/presencelog/presencelog/internal/presence"
)

// Kind is what a message is about.
type Kind string

// The kinds. Idle is the end of typing or recording.
const (
	Typing      Kind = "typing"
	Recording   Kind = "recording"
	Idle        Kind = "idle"
	Available   Kind = "available"
	Unavailable Kind = "unavailable"
)

// Kinds are all kinds.
func Kinds() []Kind { return []Kind{Typing, Recording, Idle, Available, Unavailable} }

// kindsOf returns the kinds of a change of status. A previous status of 0 means none.
func kindsOf(previous, status presence.Status) (kinds []Kind) {
	switch status {
	case presence.Composing:
		return []Kind{Typing}
	case presence.Recording:
		return []Kind{Recording}
	case presence.Available:
		kinds = []Kind{Available}
	case presence.Unavailable:
		kinds = []Kind{Unavailable}
	}
	if previous == presence.Composing || previous == presence.Recording {
		kinds = append(kinds, Idle)
	}
	return kinds
}

// Hook is a URL that receives messages about changes.
type Hook struct {
	ID           int32      `json:"id"`
	URL          string     `json:"url"`
	On           []Kind     `json:"on"`
	Instances    []string   `json:"instances"` // empty: all
	Private      bool       `json:"private"`   // it may have an address that is not public
	CreatedAt    time.Time  `json:"createdAt"`
	Pending      int64      `json:"pending"`      // messages that wait to be accepted
	Dropped      int64      `json:"dropped"`      // messages that were dropped
	FailingSince *time.Time `json:"failingSince"` // nil: the last message was accepted
	LastError    *string    `json:"lastError"`
	DisabledAt   *time.Time `json:"disabledAt"`

	secret string
}

// wants reports whether the hook gets messages about a change.
func (h *Hook) wants(kind Kind, instanceID string, since time.Time) bool {
	return slices.Contains(h.On, kind) && (len(h.Instances) == 0 || slices.Contains(h.Instances, instanceID)) && since.After(h.CreatedAt)
}

const secretPrefix = "whsec_" // of Standard Webhooks

// Add stores a hook and returns its id and its secret.
func Add(ctx context.Context, conn db.DBTX, h Hook) (id int32, secret string, err error) {
	if err := checkURL(h.URL, h.Private); err != nil {
		return 0, "", err
	}
	var kinds []string
	for _, k := range h.On {
		if !slices.Contains(Kinds(), k) {
			return 0, "", fmt.Errorf("unknown kind of change %q; it must be one of typing, recording, idle, available, unavailable", k)
		}
		kinds = append(kinds, string(k))
	}
	if len(kinds) == 0 {
		return 0, "", errors.New("a hook needs a kind of change: typing, recording, idle, available or unavailable")
	}
	for _, instance := range h.Instances {
		if instance == "" || !history.IsText(instance) {
			return 0, "", fmt.Errorf("%q is not an instance", instance)
		}
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	secret = secretPrefix + base64.StdEncoding.EncodeToString(key)
	id, err = db.New(conn).AddHook(ctx, db.AddHookParams{
		Url: h.URL, Secret: secret, Kinds: kinds, Instances: append([]string{}, h.Instances...), Private: h.Private,
	})
	return id, secret, err
}

// checkURL rejects addresses that are probably mistakes, since messages have phones in them.
func checkURL(address string, private bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || !history.IsText(address):
		return fmt.Errorf("%q is not a URL like https://bot.example.org/hook", address)
	case u.User != nil || u.Fragment != "":
		return errors.New("the URL must have no user and no fragment")
	case u.Scheme == "http" && !private:
		return errors.New("messages have phone numbers in them: use https, or --private for an address in your own network")
	}
	return nil
}

// List returns all hooks.
func List(ctx context.Context, conn db.DBTX) ([]Hook, error) {
	rows, err := db.New(conn).ListHooks(ctx)
	hooks := make([]Hook, len(rows))
	for i, r := range rows {
		h := Hook{
			ID: r.ID, URL: r.Url, Instances: r.Instances, Private: r.Private, CreatedAt: r.CreatedAt.Time.UTC(), Pending: r.Pending,
			Dropped: r.Dropped, FailingSince: postgres.TimeOrNil(r.FailingSince), LastError: r.LastError,
			DisabledAt: postgres.TimeOrNil(r.DisabledAt), secret: r.Secret,
		}
		for _, k := range r.Kinds {
			h.On = append(h.On, Kind(k))
		}
		hooks[i] = h
	}
	return hooks, err
}

// Remove deletes a hook and the messages that wait for it.
func Remove(ctx context.Context, conn db.DBTX, id int32) error {
	n, err := db.New(conn).RemoveHook(ctx, id)
	if err == nil && n == 0 {
		err = fmt.Errorf("there is no hook %d", id)
	}
	return err
}

// host returns the part of the URL that may be logged: the rest may have a secret in it.
func (h *Hook) host() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}
