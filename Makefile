# Two commands need nothing before them: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test properties chaos guests lint lint-features bench schema-docs mutants mutants-brokers setup setup-demo setup-rust setup-test setup-guests

# Everything is built here, by every target: dependencies are built once.
export CARGO_TARGET_DIR ?= $(CURDIR)/target
out := $(CARGO_TARGET_DIR)

# Always the whole workspace: a smaller selection has other features, and builds the Wasm engine once more for them.
workspace := --workspace --locked

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup-demo ## Show a host at work on the embedded broker, and count what came of it
	@sdk/build-guests.sh orders
	@echo "building wharf with the embedded broker only"
	@cargo build --locked --profile demo --package wharf --no-default-features --bin wharf
	@examples/orders/demo.sh $(out)/demo/wharf $(out)/guests

test: setup-test ## Run every test, with the servers they need
	@tests/run.sh

properties: setup-test ## Draw new and many more cases for what is tested by properties, and say by which seed
	@sdk/build-guests.sh rust
	@seed=$${PROPTEST_RNG_SEED:-$$RANDOM$$RANDOM}; echo "PROPTEST_RNG_SEED=$$seed"; \
	PROPTEST_RNG_SEED=$$seed PROPTEST_CASES=$${PROPTEST_CASES:-5000} \
		cargo test $(workspace) --lib --bins --test config --test redis

chaos: setup-test ## 100 kills of the host, 10 restarts of each server and 20 changes of hosts, under load, on every broker
	@sdk/build-guests.sh rust
	@cargo build $(workspace) --bins --test conformance
	@WHARF_KILLS=$${WHARF_KILLS:-50} WHARF_RESTARTS=$${WHARF_RESTARTS:-10} WHARF_SCALINGS=$${WHARF_SCALINGS:-5} \
		cargo test $(workspace) --test conformance -- --test-threads 1 --show-output \
		kill_nine_at_any_moment a_server_restarted one_host_to_three

guests: setup-guests ## Build the hello handler in Rust, JavaScript and Python, and hold all to one fixture
	@sdk/build-guests.sh all
	@cargo build $(workspace) --bins --tests
	@for guest in hello hello-javascript hello-python; do \
		echo "$$guest:"; \
		$(out)/debug/wharf test $(out)/guests/$$guest.wasm --messages tests/fixtures/hello.jsonl; \
	done

lint: setup-rust ## Formatting, clippy, licences and documentation, warnings denied
	@tests/lint.sh

lint-features: setup-rust ## Check the host without default features, and with each broker alone
	@for features in "" kafka nats rabbitmq redis; do \
		echo "features: $${features:-none}"; \
		cargo clippy --locked --package wharf --no-default-features --features "$$features" --bins --lib -- -D warnings; \
	done

bench: setup-test ## Measure: microbenchmarks and native twins, in one interleaved run
	@sdk/build-guests.sh rust
	@cargo build $(workspace) --release --bin wharf --bin wharf-bench
	@$(out)/release/wharf-bench all

schema-docs: setup-rust ## Write the tables of docs/configuration.md anew from the schema
	@sdk/build-guests.sh rust
	@UPDATE_SNAPSHOTS=1 cargo test $(workspace) --test config

mutants: setup-rust ## Break the dispatch core on purpose, and see the simulation notice
	@tests/mutants.sh

mutants-brokers: setup-test ## Break each adapter on purpose, and see the tests on real servers notice
	@sdk/build-guests.sh rust
	@tests/mutants.sh brokers

setup: setup-rust setup-test setup-guests ## Install what the other targets need, or say what to install

# The embedded broker alone needs less.
setup-demo:
	@tests/setup.sh rust

setup-rust:
	@tests/setup.sh rust native

setup-test:
	@tests/setup.sh rust native test

setup-guests:
	@tests/setup.sh rust native guests
