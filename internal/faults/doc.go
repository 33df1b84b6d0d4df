// Package faults tests that no acknowledged event is lost or stored twice, whatever fails. Its tests run the built program
// and PostgreSQL as separate processes, send events while either is killed, frozen, disconnected or out of space, and then
// look for every event in the database.
//
// The short form is part of go test ./...; docs/reliability.md has the command for the long form and its results.
package faults
