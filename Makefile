# The two commands are `make demo` and `make test`; CONTRIBUTING.md tells more.
GO ?= go
export CGO_ENABLED ?= 0

.PHONY: demo test build bench lint

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
	$(GO) test ./...

bench:
	$(GO) test -run '^$$' -bench . -benchtime 1s ./internal/bench
