# Everything a developer does, by name. `make` alone prints this list.
SHELL     := /bin/bash
GO        ?= go
VERSION   := $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
BIN       := bin/hookswitch
FUZZTIME  ?= 30s
REF       ?= main
BENCHFLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help run build fmt lint test e2e fuzz bench bench-compare bench-micro bench-micro-compare bench-setup pgo setup

help: ## print this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## serve on 127.0.0.1:8077 with a simulated webhook; Ctrl-C ends both
	@scripts/run $(BIN)

build: ## build bin/hookswitch, static, time zones included
	CGO_ENABLED=0 $(GO) build -trimpath -tags timetzdata -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/hookswitch

fmt: ## format the code
	gofmt -w .

lint: ## formatting, vet, module files, staticcheck, known vulnerabilities
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		printf 'not formatted; run make fmt:\n%s\n' "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) mod verify
	$(GO) mod tidy -diff
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...
	scripts/vuln

test: setup ## all tests, race detector on, end-to-end included; 10 minutes, more on a new machine
	$(GO) test -run 'Alloc' ./... # what the race detector's own allocations would hide
	$(GO) test ./socket ./hookclient ./intake # which the race detector has use other system calls
	$(GO) test -race -timeout 15m ./...

e2e: setup ## the end-to-end tests and the store's kills in their long form; pictures of the console go to e2e/out/screenshots
	HOOKSWITCH_E2E=full HOOKSWITCH_SCREENSHOTS=$(CURDIR)/e2e/out/screenshots $(GO) test -race -count=1 -timeout 60m ./e2e/... ./store

fuzz: ## every fuzz target in turn, FUZZTIME=30s each
	scripts/fuzz $(FUZZTIME)

bench: bench-setup ## measure everything beside nginx, haproxy and others; under 15 minutes; BENCHFLAGS=--quick for 2
	$(GO) run ./bench run $(BENCHFLAGS)

bench-compare: bench-setup ## the tree against REF=main under load, run in turns
	$(GO) run ./bench compare --ref $(REF) $(BENCHFLAGS)

bench-micro: ## micro-benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-micro-compare: ## micro-benchmarks of the tree against REF=main
	scripts/bench-compare $(REF)

pgo: bench-setup ## record the profile that builds are optimised by
	$(GO) run ./bench profile --for 60s -o cmd/hookswitch/default.pgo

setup: ## install with apt what the tests need and is not there
	@scripts/setup

bench-setup: ## install with apt what the load harness needs and is not there
	@scripts/bench-setup
