# Everything a developer does here. `make help` lists it.

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO          ?= go
BIN         := $(CURDIR)/bin
GOFUMPT     := $(BIN)/gofumpt
STATICCHECK := $(BIN)/staticcheck
GOFUMPT_VERSION     := v0.12.0
STATICCHECK_VERSION := v0.8.2
FUZZTIME    ?= 30s
ROUNDS      ?= 10
PACKAGES    ?= ./...
# Tests of one package that run at once: most of them wait most of the time.
PARALLEL    ?= 8

export CGO_ENABLED := 0

.PHONY: help build test lint bench microbench fuzz run race soak soak-page soak-kills soak-connecting soak-callers soak-calls postgres node chromium keyring

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  \1\t/' | expand -t 12

build: ## the stripped binary, bin/claviger; VERSION=1.2.3 names it
	$(GO) build -trimpath -ldflags '-s -w$(if $(VERSION), -X claviger/internal/app.Version=$(VERSION))' -o $(BIN)/claviger ./cmd/claviger

test: postgres node chromium keyring ## all tests, on SQLite and PostgreSQL, and the abuse cases they prove
	@$(GO) build -o $(BIN)/abuse ./clavigertest/abuse
	@$(GO) run ./clavigertest/postgres/cmd/postgres -fast -- $(GO) test -timeout 60m -parallel $(PARALLEL) -json $(PACKAGES) | $(BIN)/abuse

# PostgreSQL's programs; Debian keeps initdb out of the PATH.
postgres:
	@.ci/postgres

# Node.js and, in the user's cache, what tests run with it.
node:
	@.ci/node
	@$(GO) run ./clavigertest/npm/install

# The browser that tests open the pages in.
chromium:
	@.ci/chromium

# The keychain that tests log in with.
keyring:
	@.ci/keyring

lint: $(GOFUMPT) $(STATICCHECK) ## formatting, vet and staticcheck
	@unformatted=$$($(GOFUMPT) -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run: $(GOFUMPT) -w ."; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...

# A tool is installed again when its version here changes.
$(GOFUMPT): Makefile
	GOBIN=$(BIN) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
	@touch $@

$(STATICCHECK): Makefile
	GOBIN=$(BIN) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	@touch $@

bench: postgres ## what a call costs beside other proxies, into docs/performance.md
	@.ci/bench
	$(GO) run ./clavigertest/postgres/cmd/postgres -- $(GO) run ./bench -write

microbench: postgres ## the benchmarks of single packages
	$(GO) run ./clavigertest/postgres/cmd/postgres -- $(GO) test -run '^$$' -bench . -benchmem ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@$(GO) list $(PACKAGES) | while read -r package; do \
	  listed=$$($(GO) test -list '^Fuzz' "$$package"); \
	  for target in $$(grep '^Fuzz' <<<"$$listed" || true); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
	  done; \
	done

run: ## a server with a sample connection, in a temporary folder
	$(GO) run ./cmd/claviger quickstart

race: postgres node ## the tests again and again, with the race detector, for ROUNDS rounds (10)
	CGO_ENABLED=1 $(GO) run ./clavigertest/postgres/cmd/postgres -- $(GO) test -race -count $(ROUNDS) -timeout 12h ./...

# One after the other, each with its own deadline; a part that is through has written its
# section. With SHARE below 100 only as many percent of the rounds, into a copy of the page.
SHARE     ?= 100
SOAK_PAGE := $(if $(filter 100,$(SHARE)),$(CURDIR)/docs/soak.md,$(BIN)/soak.md)
soaking    = CLAVIGER_SOAK=$(SOAK_PAGE) CLAVIGER_SOAK_SHARE=$(SHARE) $(GO) run ./clavigertest/postgres/cmd/postgres -fast -- \
  $(GO) test -count 1 -parallel 8 -timeout 2h -v -run

soak: ## thousands of kills and of callers at once, into docs/soak.md; SHARE=2: two percent
	@$(MAKE) --no-print-directory soak-kills
	@$(MAKE) --no-print-directory soak-connecting
	@$(MAKE) --no-print-directory soak-callers
	@$(MAKE) --no-print-directory soak-calls

soak-page: postgres
	@[ "$(SHARE)" = 100 ] || { mkdir -p $(BIN); [ $(SOAK_PAGE) -nt docs/soak.md ] || cp docs/soak.md $(SOAK_PAGE); }

soak-kills: soak-page
	$(soaking) '^TestAbuse_228_Killed' ./internal/vault

soak-connecting: soak-page
	$(soaking) '^TestAbuse_229_Killed' ./clavigertest

soak-callers: soak-page
	$(soaking) '^TestAbuse_071_072_Callers' ./clavigertest

soak-calls: soak-page
	$(soaking) '^TestAbuse_217_233_Killed' ./clavigertest
