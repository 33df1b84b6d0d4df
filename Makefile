# The commands of development. They need Go, and the tests PostgreSQL or npm.

.PHONY: help test race fuzz lint generate fmt screenshots bench build ci

FUZZTIME = 1m

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /make \1\t/p' Makefile | expand -t 16

test: ## run the tests
	go test ./...

race: ## run the tests with the race detector
	go test -race ./...

fuzz: ## run each fuzz test for FUZZTIME, by default 1m
	@grep -rEo '^func Fuzz[A-Za-z]+' --include='*_test.go' . | sort | while IFS=: read -r file func; do \
		echo "== $${file%/*} $${func#func }"; \
		go test "$${file%/*}" -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) || exit 1; \
	done

lint: ## vet, builds for every system, formatting, generated code, golangci-lint, imports, modules, docs
	.ci/run vet builds format generated lint layers modules docs

generate: ## generate db/ from queries/ and migrations/
	CGO_ENABLED=0 go tool -modfile=tools/go.mod sqlc generate

fmt: ## format the Go code
	go fmt ./...

screenshots: ## make docs/screenshots (needs Chromium)
	go test -tags browser ./internal/webtest -run TestScreenshots -count=1 -args -screenshots $(CURDIR)/docs/screenshots

bench: ## run the Go benchmarks
	go test -run '^$$' -bench . -benchmem ./...

build: ## build the binaries ./presencelog and ./presencebench
	CGO_ENABLED=0 go build -trimpath -o . ./cmd/...

ci: ## run all checks
	.ci/run
