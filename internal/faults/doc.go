// Package faults breaks the service on purpose and counts what became of the events that it acknowledged. It has tests
// only: they run the built program and PostgreSQL as processes of their own, send to the one while either is killed,
// frozen, cut off or left without space, and then look for every single event in the database.
//
// The short form is part of go test ./...; docs/reliability.md has the command for the long one and what it found.
package faults
