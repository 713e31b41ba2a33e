# Each target says what it does: `make help`.
SHELL := /bin/sh
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run test test-faults check lint types imports bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Install everything that is missing: system packages, .venv, broker jars, npm packages of the tests
	@scripts/bootstrap

run: ## Start Kafka, all roles and a demo receiver, and send every product's example events (Ctrl-C stops)
	@scripts/bootstrap run
	@.venv/bin/hookstream up --demo

test: setup check ## Run everything: the checks, and all tests with a real Kafka, real receivers and real processes
	@$(PY) -m pytest -q -n 3 --dist loadfile tests/integration tests/contracts tests/e2e tests/faults

test-faults: setup ## Play 20 rounds of faults against a whole service (ARGS='--rounds 200', '--help' for more)
	@$(PY) -m tests.faults $(ARGS)

check: lint types imports ## Run lint, types, import rules and the unit tests (seconds)
	@$(PY) -m pytest -q tests/architecture tests/core tests/profiles tests/roles tests/api tests/dashboard tests/runtime tests/cli tests/test_settings.py

lint: ## Look for mistakes and bad form with ruff
	@.venv/bin/ruff check app tests
	@.venv/bin/ruff format --check -q app tests

types: ## Check the types with mypy, strictly
	@.venv/bin/mypy

imports: ## Check that imports point inward
	@.venv/bin/lint-imports --no-logo >.cache/imports.log 2>&1 || { cat .cache/imports.log; exit 1; }

bench: setup ## Measure speed as ratios against bare loops, and the whole pipeline (minutes)
	@$(PY) -m tests.bench

clean: ## Remove what was installed and built here; data of `make run` (.hookstream) stays
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/receivers/node_modules
