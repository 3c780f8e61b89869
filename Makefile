# What a person types, and what .ci/run types. Everything is installed by the targets that need it.

GO      ?= go
BINARIES = bin
# Packages under test at once, of those that do not watch seconds (scripts/test). Most of a test's time is waiting for servers.
TEST_PACKAGES ?= 2
# Of the slowest package, on a slow machine.
TEST_TIMEOUT  ?= 30m

# How long each part of `make search` takes at most.
SEARCH ?= 10m

export GO TEST_PACKAGES TEST_TIMEOUT

.DEFAULT_GOAL := build
.PHONY: help build demo test faults golden lint tools tools-mysql tools-zookeeper bench bench-engines clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## all programs, into bin/; their version is that of the commit
	@mkdir -p $(BINARIES)
	$(GO) build -o $(BINARIES)/ ./cmd/...

demo: tools-mysql build ## cotton, two clusters, alters, a primary killed, every row read back; options in ARGS="--keep"
	$(BINARIES)/aosc demo $(ARGS)

test: tools build ## all tests, on real servers
	@AOSC_BIN=$(abspath $(BINARIES)) scripts/test

faults: tools build ## every daemon killed at every fault point, every withdrawal, long outages, and clusters against all faults of docs/faults.md
	@AOSC_BIN=$(abspath $(BINARIES)) AOSC_E2E=full scripts/test ./test/e2e -v -run 'TestKilledAnywhere|TestAoscdbDown'
	@AOSC_E2E=full scripts/test ./internal/oscworker -v -run TestPermissionWithdrawnInMidCopy
	@AOSC_BIN=$(abspath $(BINARIES)) AOSC_E2E=full TEST_TIMEOUT=2h scripts/test ./internal/cotton/framework -v
	@AOSC_BIN=$(abspath $(BINARIES)) AOSC_E2E=full TEST_TIMEOUT=6h scripts/test ./test/faults -v

golden: ## writes golden files of what was added to stored records and messages; what was there stays as it is
	$(GO) test ./internal/cotton/golden ./internal/cotton/executor -run Golden -update

search: ## the model of failovers, searched deeper and at random for SEARCH (10m), seeds printed; AOSC_SEED repeats one
	AOSC_SEARCH=$(SEARCH) $(GO) test ./internal/cotton -count=1 -timeout 6h -v -run 'TestSearch|TestWalk'

lint: ## gofmt and go vet
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "not formatted by gofmt:" $$unformatted; exit 1; }
	$(GO) vet ./...
	cd bench && $(GO) vet ./...

tools: tools-mysql tools-zookeeper ## what demo and test need beside Go, where the machine does not have it

tools-mysql:
	@scripts/mysql-install

tools-zookeeper:
	@scripts/zookeeper-install

bench: tools build ## all benchmarks, each beside a peer; docs/benchmarks.md has figures
	$(GO) test -run '^$$' -bench . -p 1 -timeout 1h ./...
	cd bench && AOSC_BIN=$(abspath $(BINARIES)) $(GO) test -run '^$$' -bench . -benchtime 1x -p 1 -timeout 6h ./...

bench-engines: tools build ## copies by each engine beside ALGORITHM=COPY, gh-ost and Spirit; sizes by AOSC_BENCH_ROWS, AOSC_BENCH_RUNS, AOSC_BENCH_LARGE
	cd bench && AOSC_BIN=$(abspath $(BINARIES)) $(GO) test -count=1 -run '^$$' -bench Engines -benchtime 1x -timeout 8h .

clean: ## removes what build made
	rm -rf $(BINARIES)

distclean: clean ## removes the private MySQL and its templates, too
	rm -rf .tools
