// Package migrations carries the database's schema, one goose file a step.
package migrations

import "embed"

// FS holds the migrations, named NNNNN_subject.sql.
//
//go:embed *.sql
var FS embed.FS
