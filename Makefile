# MarketFlow. `make help` lists what there is.

GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
BIN     := bin/marketflow
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help run test test-race bench bench-quick scenarios drills mutants sandbox-clients clients observe \
	lint fmt generate licenses vulncheck verify migrate build compose-up deps clean

# For `make scenarios`: how many, and the seed that everything is drawn from (0 draws one).
N    ?= 20
SEED ?= 0
# For `make drills`: how long the clients of each order, and how many orders begin in a second.
FOR  ?= 30s
RPS  ?= 50

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: deps build ## run everything on this machine: the service, PostgreSQL, Redis and a Stripe sandbox
	@exec ./$(BIN) dev

test: deps ## run every test; it sets up what it needs
	$(GO) test -timeout 30m ./...

test-race: deps ## run every test but the scenarios, with the race detector
	$(GO) test -race -short -timeout 30m ./...

scenarios: deps ## run random scenarios, two processes under faults: N=100 SEED=7
	$(GO) run ./tests/scenarios -n $(N) -seed $(SEED)

drills: deps ## lose the database's last minutes in every way, at length: FOR=60s RPS=50 SEED=7
	$(GO) run ./tests/scenarios -drill losses -for $(FOR) -rps $(RPS) -seed $(SEED)

mutants: deps ## remove each safeguard once; a scenario or a drill must notice
	$(GO) run ./tests/mutants

sandbox-clients: ## test the sandbox with Stripe's clients, localstripe's calls, and its payment page in Chromium
	./sandbox/clients/run.sh

clients: deps ## lint the API's contract, and test the service with a Go and a TypeScript client made from it
	./tests/clients/run.sh

bench: deps ## measure what the service adds to what PostgreSQL and Stripe cost anyway (minutes)
	$(GO) test -run '^$$' -bench CreateIntent ./sandbox
	$(GO) run ./bench

bench-quick: deps ## the same, in about a minute
	$(GO) run ./bench -quick

observe: ## run Prometheus with our rules against the service on this machine
	./scripts/observe

build: ## build bin/marketflow
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/marketflow

lint: ## run golangci-lint, with the import law
	$(TOOL) golangci-lint run ./...

fmt: ## format the code
	$(TOOL) golangci-lint fmt ./...

generate: ## regenerate the Go code that sqlc makes from queries/ and migrations/
	$(TOOL) sqlc generate

licenses: ## collect the licences of what the binary contains; a test fails if they are out of date or not allowed
	$(GO) run ./licenses/collect

vulncheck: ## look for known vulnerabilities in what the binary calls; needs https://vuln.go.dev
	@GO="$(GO)" ./scripts/vulncheck

verify: deps ## check all that must pass before a push: format, lint, vet, generated code, tests with the race detector
	$(TOOL) golangci-lint fmt --diff ./...
	$(TOOL) golangci-lint run ./...
	$(GO) vet ./...
	$(GO) mod verify
	$(TOOL) sqlc diff
	$(GO) test -race -short -timeout 30m ./...

migrate: build ## bring the database at DATABASE_URL up to date
	./$(BIN) migrate up

compose-up: ## start PostgreSQL, Redis, Jaeger, Prometheus and Grafana in Docker
	docker compose up -d --wait

deps: ## make sure that PostgreSQL's server binaries are on this machine
	@./scripts/ensure-postgres

clean: ## remove what was built
	rm -rf bin
