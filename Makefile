# The two commands are `make demo` and `make test`; CONTRIBUTING.md tells more.
GO ?= go
export CGO_ENABLED ?= 0

.PHONY: demo test build bench bench-large lint

demo:
	@$(GO) run ./cmd/stemma demo

build:
	$(GO) build -trimpath -o bin/stemma ./cmd/stemma

lint:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt would change: $$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) mod verify >/dev/null

test: lint
	@scripts/need ssh-keygen openssh-client
	@scripts/need git git
	@scripts/need make make
	@scripts/need python3 python3-minimal
	$(GO) test ./...
	@scripts/need gcc gcc
	@if command -v gcc >/dev/null; then set -x; CGO_ENABLED=1 $(GO) test -race -run 'TestReadersWhileFolding' ./internal/query; fi

# Sizes: STEMMA_BENCH_THINGS. PostgreSQL is measured too where it is installed.
bench:
	@scripts/need psql postgresql
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./internal/bench
	$(GO) test -p 1 -run '^$$' -bench . -benchtime 1x -timeout 60m ./internal/capture/trace ./cmd/stemma

bench-large:
	@scripts/need psql postgresql
	STEMMA_BENCH_THINGS=10000000 $(GO) test -run '^$$' -bench 'Graph|Closure$$|Restart|Reaches' -benchtime 1x -timeout 240m ./internal/bench
