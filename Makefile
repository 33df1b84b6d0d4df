# One command for each thing that one does here. Needed: Go, and PostgreSQL or npm for the tests.

.PHONY: help test race lint generate fmt bench build ci

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

test: ## run the tests
	go test ./...

race: ## run the tests with the race detector
	go test -race ./...

lint: ## vet, formatting, generated code, staticcheck, imports, modules, docs
	.ci/run vet format generated staticcheck layers modules docs

generate: ## make db/ from queries/ and migrations/
	CGO_ENABLED=0 go tool -modfile=tools/go.mod sqlc generate

fmt: ## format the Go code
	go fmt ./...

bench: ## run the Go benchmarks
	go test -run '^$$' -bench . -benchmem ./...

build: ## make the binary ./presencelog
	CGO_ENABLED=0 go build -trimpath ./cmd/presencelog

ci: ## all checks, as on a new machine
	.ci/run
