package postgres_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/presencelog/presencelog/db"
	"github.com/presencelog/presencelog/internal/pgtest"
	"github.com/presencelog/presencelog/internal/postgres"
)

// It uses its own server, whose connections are all in use.
func TestReservedConnectionsStayFree(t *testing.T) {
	t.Parallel()
	server := pgtest.Server(t, map[string]string{"max_connections": "12"})
	owner, err := pgx.Connect(t.Context(), server.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { owner.Close(context.Background()) })
	pgtest.Exec(t, owner, "CREATE ROLE service LOGIN PASSWORD 'p'; CREATE ROLE hog LOGIN PASSWORD 'p'")
	const conns = 4
	pool, err := postgres.Reserve(t.Context(), server.ConnString()+" user=service password=p", "test", conns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	pgtest.Eventually(t, "all connections are open", func() bool { return pool.Stat().IdleConns() >= conns })
	var refused *pgconn.PgError
	for {
		conn, err := pgx.Connect(t.Context(), server.ConnString()+" user=hog password=p")
		if errors.As(err, &refused) && refused.Code == "53300" {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	if left, err := db.New(pool).ConnectionsLeft(t.Context()); err != nil || left > 0 {
		t.Errorf("%d connections are left (%v)", left, err)
	}
	held := make([]*pgxpool.Conn, conns)
	for i := range held {
		if held[i], err = pool.Acquire(t.Context()); err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
		defer held[i].Release()
	}
}
