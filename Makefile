# The one door to the project: `make` alone lists what there is.

NX := NX_DAEMON=false NX_TUI=false node_modules/.bin/nx
MONITOR := apps/monitor/dist/main.cjs
# Folders are listed too, so that a removed file also causes a build.
MONITOR_SOURCES := package-lock.json nx.json tsconfig.base.json \
  $(shell find apps/monitor/src libs/*/src '(' -type d -o -type f ! -name '.*' ! -name '*.spec.ts' ')' 2>/dev/null)
STACK := scripts/development/compose.sh
MOCK := apps/mock-exporter/dist/main.cjs
MOCK_SOURCES := $(subst apps/monitor/src,apps/mock-exporter/src,$(filter-out apps/monitor/src%,$(MONITOR_SOURCES))) \
  $(wildcard apps/mock-exporter/src/*.ts)

.DEFAULT_GOAL := help
.PHONY: help setup start demo up down restart logs ps check reset config urls test test-e2e lint format build bench generate clean
.SILENT:

help: ## Show this list
	awk 'BEGIN { FS = ":.*## "; print "Usage: make TARGET\n" } \
	  /^[a-z][a-z0-9-]*:.*## / { printf "  %-10s %s\n", $$1, $$2 }' Makefile

setup: ## Check Node and install the packages when they are missing or out of date
	scripts/setup/install-packages.sh

start: setup $(MONITOR) ## Watch the LLM engines of this host in a browser; options go into ARGS="--help"
	exec node $(MONITOR) $(ARGS)

demo: setup $(MONITOR) $(MOCK) ## The same over a simulated host with GPUs, engines and users
	exec scripts/development/run-demo.sh $(ARGS)

up: ## Start the container stack: ENV=dev|mock|prod, GPU=auto|nvidia|cdi|amd|none
	exec $(STACK) up $(ARGS)

down: ## Stop the stack; its data stays
	exec $(STACK) down $(ARGS)

restart: ## Start the stack anew with changed settings
	exec $(STACK) restart $(ARGS)

logs: ## Follow what the stack says; ARGS=prometheus for one service
	exec $(STACK) logs $(ARGS)

ps: ## List the containers of the stack
	exec $(STACK) ps $(ARGS)

check: setup ## Check the configuration of the stack in every combination
	exec $(STACK) check

reset: ## Stop the stack and remove its data, after a question
	exec $(STACK) reset $(ARGS)

config: ## Print the configuration that `make up` would start
	exec $(STACK) config $(ARGS)

urls: ## Print where the stack is
	exec $(STACK) urls

$(MONITOR): $(MONITOR_SOURCES) | setup
	echo 'Building apps/monitor ...'
	mkdir -p .cache
	$(NX) build monitor >.cache/build.log 2>&1 || { cat .cache/build.log >&2; exit 1; }
	touch $@

$(MOCK): $(MOCK_SOURCES) | setup
	echo 'Building apps/mock-exporter ...'
	mkdir -p .cache
	$(NX) build mock-exporter >.cache/build.log 2>&1 || { cat .cache/build.log >&2; exit 1; }
	touch $@

test: setup ## Run every check; PARTS="format workspace" runs only those
	node tools/checks/test.mjs $(PARTS)

test-e2e: setup ## Try the images and the stack with a Docker engine (minutes)
	node tools/checks/test.mjs e2e

lint: setup ## Run the linter and the type checker
	$(NX) run-many -t lint typecheck --nxBail=false

format: setup ## Rewrite every file in the project's format
	node_modules/.bin/prettier --log-level warn --write .

build: setup ## Bundle every app into its dist/main.cjs
	$(NX) run-many -t build

bench: setup ## Measure the budgets of the design
	$(NX) run bench:bench

generate: setup ## Rewrite the generated docs and .env.example
	node tools/checks/generate.mjs

clean: ## Remove what builds and tests left behind (the packages stay)
	rm -rf .nx .cache reports apps/*/dist apps/*/out-tsc libs/*/out-tsc tools/*/out-tsc \
	  apps/*/test-output libs/*/test-output tools/*/test-output
