# MarketFlow. `make help` lists what there is.

GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
BIN     := bin/marketflow
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help run test test-race bench bench-quick scenarios mutants sandbox-clients clients observe \
	lint fmt generate verify migrate build compose-up deps clean

# For `make scenarios`: how many, and what they are drawn from (0 draws a seed).
N    ?= 20
SEED ?= 0

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: deps build ## the whole service on this machine: PostgreSQL, Redis and a Stripe sandbox included
	@exec ./$(BIN) dev

test: deps ## every test, with what it needs set up by itself
	$(GO) test ./...

test-race: deps ## every test but the scenarios, with the race detector
	$(GO) test -race -short ./...

scenarios: deps ## two processes under fire: N=100 SEED=7
	$(GO) run ./tests/scenarios -n $(N) -seed $(SEED)

mutants: deps ## the checker is checked: every safeguard taken out once must be noticed
	$(GO) run ./tests/mutants

sandbox-clients: ## the sandbox against Stripe's clients, localstripe's calls, and its payment page in Chromium
	./sandbox/clients/run.sh

clients: deps ## lint the API's contract, and hold the service against a Go and a TypeScript client made of it
	./tests/clients/run.sh

bench: deps ## what the service adds to what PostgreSQL and Stripe cost anyway (minutes)
	$(GO) test -run '^$$' -bench CreateIntent ./sandbox
	$(GO) run ./bench

bench-quick: deps ## the same, in about a minute
	$(GO) run ./bench -quick

observe: ## Prometheus with our rules against the service on this machine
	./scripts/observe

build: ## bin/marketflow
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/marketflow

lint: ## golangci-lint, the import law included
	$(TOOL) golangci-lint run ./...

fmt: ## format the code
	$(TOOL) golangci-lint fmt ./...

generate: ## regenerate what sqlc makes of queries/ and migrations/
	$(TOOL) sqlc generate

verify: deps ## what must hold before a push: format, lint, vet, generated code, tests with the race detector
	$(TOOL) golangci-lint fmt --diff ./...
	$(TOOL) golangci-lint run ./...
	$(GO) vet ./...
	$(GO) mod verify
	$(TOOL) sqlc diff
	$(GO) test -race -short ./...

migrate: build ## bring the database at DATABASE_URL up to date
	./$(BIN) migrate up

compose-up: ## PostgreSQL, Redis, Jaeger, Prometheus and Grafana in Docker
	docker compose up -d --wait

deps: ## see to it that PostgreSQL's server binaries are here
	@./scripts/ensure-postgres

clean: ## remove what was built
	rm -rf bin
