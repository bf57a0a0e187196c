# Catchment: `make` prints this help.
CARGO ?= cargo
SEEDS ?= 1 2 3 4 5
SEED ?= 1
ROUNDS ?= 200000
HARSH_LOG ?= target/harsh.log
.DEFAULT_GOAL := help
.PHONY: help setup setup-tests dev dev-check harsh fuzz run test backlog audit crash check build openapi fmt

help: ## Print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building on a fresh Debian machine lacks
	@tools/setup

setup-tests: ## The same for the tests
	@tools/setup tests

dev: setup ## Build and run the whole main job on this machine: no account, no key, real videos
	$(CARGO) run --locked --quiet -- dev

dev-check: setup ## 50 tasks through mild faults; fails if anything is lost
	$(CARGO) run --locked --quiet -- dev --tasks 50 --faults mild --exit

harsh: setup ## 200 tasks through everything that goes wrong, several times; fails if anything is lost, doubled or untrue
	$(CARGO) build --locked --quiet
	@for seed in $(SEEDS); do \
	  echo "seed $$seed:"; start=$$(date +%s); \
	  target/debug/catchment dev --tasks 200 --faults harsh --exit --seed $$seed 2>$(HARSH_LOG) || { cat $(HARSH_LOG) >&2; exit 1; }; \
	  echo "seed $$seed: all as it should be, after $$(($$(date +%s) - start)) s"; \
	done

fuzz: setup ## Damaged media files and odd provider answers, for some minutes (SEED=n, ROUNDS=n)
	CATCHMENT_FUZZ_SEED=$(SEED) CATCHMENT_FUZZ_ROUNDS=$(ROUNDS) PROPTEST_CASES=4000 \
	  $(CARGO) test --locked --features failpoints --lib -- container any_message address token

run: setup ## Run the service with ./catchment.toml and the environment (RUNWARE_API_KEY, bucket, public address)
	$(CARGO) run --locked --release --quiet -- serve

test: setup-tests ## Every test, crash tests included
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(CARGO) test --locked --features failpoints

crash: setup-tests ## SIGKILL at every named point, on both object stores (minutes)
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(CARGO) test --locked --features failpoints --test crash

backlog: setup ## A consumer down for a day with 10^5 events (the tests have 10^4)
	$(CARGO) test --locked --test backlog -- --ignored --nocapture

audit: setup-tests ## The loss proof over 50,000 results: its memory (minutes; the tests have 1,500)
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(CARGO) test --locked --features failpoints --test service -- audits::an_audit_of_50_000 --ignored --nocapture

check: ## What CI runs: tests, formatting, lints, layers
	@.ci/run

build: setup ## The release binary, target/release/catchment
	$(CARGO) build --locked --release

.PHONY: bench large
bench: setup ## Measure against the goals and other tools, then `large` (BENCH_ONLY=a,c BENCH_ROUNDS=5)
	@benches/setup
	$(CARGO) build --locked --release --bin catchment --example bench-tool
	@benches/bench.py

large: setup ## Its last part alone: up to 64 × 200 MiB, 200 × 5 MiB, 2 GiB, files without a length, on facts
	@benches/setup
	$(CARGO) build --locked --release --bin catchment --example bench-tool
	@benches/large.py

openapi: ## Write openapi.json anew from the code
	UPDATE_OPENAPI=1 $(CARGO) test --locked --lib openapi

fmt: ## Format the code
	$(CARGO) fmt
