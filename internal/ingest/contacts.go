package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/postgres"
)

const (
	maxCachedContacts = 300_000 // about 40 MB
	warmPage          = 10_000
	lookupTries       = 5
)

var errOtherDatabase = errors.New("every query reaches another database")

type contact struct{ instanceID, phone string }

// contactIDs is the contact id cache. Stores of several goroutines may share one.
type contactIDs struct {
	pool *pgxpool.Pool
	max  int

	mu        sync.RWMutex
	ids       map[contact]int32
	instances map[string]int32
	database  int64 // identity of the database that the ids are from
}

func newContactIDs(pool *pgxpool.Pool) *contactIDs {
	return &contactIDs{pool: pool, max: maxCachedContacts, ids: map[contact]int32{}, instances: map[string]int32{}}
}

// lookup has the ids of a sequence of contacts, in the same order.
type lookup struct {
	ids      []int32
	database int64            // identity of the database that the ids are from
	added    map[contact]bool // new contacts
}

// find looks up contacts in the cache and then in the database, in one round trip. It adds contacts that are in neither. If only
// is not 0, the ids must be from that database.
func (c *contactIDs) find(ctx context.Context, of iter.Seq[contact], only int64, l *lookup) error {
	for range lookupTries {
		missing := c.cached(of, l)
		if only != 0 && l.database != only {
			return errOtherDatabase
		}
		if len(missing) == 0 {
			return nil
		}
		found, err := c.resolve(ctx, missing, only, noLimits)
		if err != nil {
			return err
		}
		l.added = found.added
		if l.database != found.database && len(missing) < len(l.ids) {
			continue // the cached ids are from another database
		}
		l.database = found.database
		i := 0
		for k := range of {
			if l.ids[i] == 0 {
				l.ids[i] = found.ids[k]
			}
			i++
		}
		return nil
	}
	return errOtherDatabase
}

// cached fills l from the cache and returns the missing contacts; their ids are 0.
func (c *contactIDs) cached(of iter.Seq[contact], l *lookup) (missing map[contact]bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	l.ids, l.database, l.added = l.ids[:0], c.database, nil
	for k := range of {
		id := c.ids[k]
		if id == 0 {
			if missing == nil {
				missing = map[contact]bool{}
			}
			missing[k] = true
		}
		l.ids = append(l.ids, id)
	}
	return missing
}

// limits are the maximum numbers of instances and contacts to add.
type limits struct{ instances, contacts int32 }

var noLimits = limits{math.MaxInt32, math.MaxInt32}

const (
	overInstances = "instances"
	overContacts  = "contacts"
)

// resolved is the result of looking up contacts that were not cached.
type resolved struct {
	ids            map[contact]int32
	database       int64
	added          map[contact]bool
	addedInstances int
	overLimit      map[contact]string // contacts that were not added, and the limit reached
	instanceLimit  string             // the limit that new instances reach first
}

// resolve reads the ids of contacts from the database and adds new ones, within limits. If only is not 0, it must be that database.
func (c *contactIDs) resolve(ctx context.Context, contacts map[contact]bool, only int64, max limits) (resolved, error) {
	r := resolved{added: map[contact]bool{}, instanceLimit: overInstances}
	if max.contacts < max.instances { // each new instance needs a contact
		max.instances, r.instanceLimit = max.contacts, overContacts
	}
	for range lookupTries {
		r.ids, r.overLimit = make(map[contact]int32, len(contacts)), map[contact]string{}
		instances, database, err := c.resolveInstances(ctx, contacts, max, &r)
		if err != nil {
			return r, err
		}
		if only != 0 && database != only {
			return r, errOtherDatabase
		}
		r.database = database
		same, err := c.resolveContacts(ctx, contacts, instances, max, &r)
		if err != nil {
			return r, err
		}
		// If contacts are missing although no limit is reached, another writer is adding them.
		if same && len(r.ids)+len(r.overLimit) == len(contacts) {
			c.store(r)
			return r, nil
		}
		if !same {
			c.drop(database)
		}
	}
	return r, errors.New("resolving contacts: other writers keep adding and deleting them")
}

// resolveInstances returns the ids of the contacts' instances, from the cache or the database. Missing ones are over the limit,
// or another writer is adding them.
func (c *contactIDs) resolveInstances(
	ctx context.Context, contacts map[contact]bool, max limits, r *resolved,
) (ids map[string]int32, database int64, err error) {
	for range lookupTries {
		ids = map[string]int32{}
		var missing []string
		c.mu.RLock()
		database = c.database
		for k := range contacts {
			if _, seen := ids[k.instanceID]; !seen {
				ids[k.instanceID] = c.instances[k.instanceID]
				if ids[k.instanceID] == 0 {
					missing = append(missing, k.instanceID)
				}
			}
		}
		c.mu.RUnlock()
		if len(missing) == 0 {
			return ids, database, nil
		}
		limit := max.instances - int32(r.addedInstances)
		rows, err := db.New(c.pool).ResolveInstances(ctx, db.ResolveInstancesParams{Names: missing, MaxNew: limit})
		if err != nil {
			return nil, 0, fmt.Errorf("resolving instances: %w", err)
		}
		c.mu.Lock()
		for _, row := range rows {
			c.from(row.Database)
			if len(c.instances) >= c.max {
				clear(c.instances)
			}
			if ids[row.Name] = row.ID; row.ID != 0 {
				c.instances[row.Name] = row.ID
			}
			if row.Added {
				r.addedInstances++
			}
		}
		c.mu.Unlock()
		if rows[0].Database == database || len(missing) == len(ids) {
			return ids, rows[0].Database, nil
		}
		// The cached ids are from another database.
	}
	return nil, 0, errOtherDatabase
}

// resolveContacts fills r. It returns false if the instances' ids are from another database.
func (c *contactIDs) resolveContacts(
	ctx context.Context, contacts map[contact]bool, instances map[string]int32, max limits, r *resolved,
) (same bool, err error) {
	var asked []contact
	arg := db.ResolveContactsParams{MaxNew: max.contacts - int32(len(r.added)), Database: r.database}
	for k := range contacts {
		switch id := instances[k.instanceID]; {
		case id != 0:
			asked = append(asked, k)
			arg.InstanceIds, arg.Phones = append(arg.InstanceIds, id), append(arg.Phones, k.phone)
		case len(r.added) >= int(max.contacts):
			r.overLimit[k] = overContacts
		case r.addedInstances >= int(max.instances):
			r.overLimit[k] = r.instanceLimit
		}
	}
	if len(asked) == 0 {
		return true, nil
	}
	rows, err := db.New(c.pool).ResolveContacts(ctx, arg)
	if postgres.ErrorCode(err) == pgerrcode.ForeignKeyViolation { // an instance was deleted
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("resolving contacts: %w", err)
	}
	for _, row := range rows {
		if row.ActualDatabase != r.database {
			return false, nil
		}
		if row.ID != 0 {
			r.ids[asked[row.Place-1]] = row.ID
		}
		if row.Added {
			r.added[asked[row.Place-1]] = true
		}
	}
	for _, row := range rows {
		if row.ID == 0 && len(r.added) >= int(max.contacts) {
			r.overLimit[asked[row.Place-1]] = overContacts
		}
	}
	return true, nil
}

func (c *contactIDs) store(r resolved) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from(r.database)
	for k, id := range r.ids {
		c.add(k, id)
	}
}

// from drops ids of other databases. The caller holds mu.
func (c *contactIDs) from(database int64) {
	if c.database != database {
		clear(c.ids)
		clear(c.instances)
		c.database = database
	}
}

// expect drops ids that are not from this database.
func (c *contactIDs) expect(database int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from(database)
}

// add caches an id and evicts another one if the cache is full. The caller holds mu.
func (c *contactIDs) add(k contact, id int32) {
	if len(c.ids) >= c.max {
		for other := range c.ids {
			delete(c.ids, other)
			break
		}
	}
	c.ids[k] = id
}

// drop drops the ids of a database that is gone.
func (c *contactIDs) drop(database int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.database == database {
		c.from(0)
	}
}

// warm fills the cache, newest contacts first.
func (c *contactIDs) warm(ctx context.Context) error {
	before := int32(math.MaxInt32)
	instances := map[string]string{} // one copy of each name, not one per contact
	for {
		rows, err := db.New(c.pool).NewestContacts(ctx, db.NewestContactsParams{BeforeID: before, MaxRows: warmPage})
		if err != nil || len(rows) == 0 {
			return err
		}
		c.mu.Lock()
		for _, r := range rows {
			c.from(r.Database)
			if _, ok := instances[r.Instance]; !ok {
				instances[r.Instance], c.instances[r.Instance] = r.Instance, r.InstanceID
			}
			if len(c.ids) < c.max {
				c.add(contact{instances[r.Instance], r.Phone}, r.ID)
			}
		}
		full := len(c.ids) >= c.max
		c.mu.Unlock()
		if full {
			return nil
		}
		before = rows[len(rows)-1].ID
	}
}
