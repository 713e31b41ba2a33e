# The task list: `make help`.
SHELL := /bin/sh
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
PY := .venv/bin/python
# Tests in these folders need a real Kafka, real processes, or minutes.
SLOW := integration contracts e2e faults bench

.DEFAULT_GOAL := help
.PHONY: help install setup hooks run check lint format types imports unit generate test test-faults soak image bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: ## Install what running needs: system packages, .venv, the broker's jars
	@scripts/bootstrap run

setup: ## Install what running and testing need, also PostgreSQL, Prometheus, Chromium and npm packages
	@scripts/bootstrap

hooks: ## Install the pre-commit hooks, and let git blame skip the commits that only moved code
	@pre-commit install --hook-type pre-commit --hook-type commit-msg
	@test ! -f .git-blame-ignore-revs || git config blame.ignoreRevsFile .git-blame-ignore-revs

run: install ## Start Kafka, all roles and a demo receiver, and send every product's example events (Ctrl-C stops)
	@.venv/bin/hookstream up --demo

check: lint types imports unit ## Run lint, types, import rules and the unit tests (a minute)

lint: ## Check style and common mistakes with ruff
	@.venv/bin/ruff check app tests monitoring
	@.venv/bin/ruff format --check -q app tests monitoring

format: ## Format the code and fix what ruff can fix
	@.venv/bin/ruff check -q --fix app tests monitoring
	@.venv/bin/ruff format -q app tests monitoring

types: ## Check types with mypy, strictly
	@.venv/bin/mypy

imports: ## Check the import rules of docs/architecture.md
	@mkdir -p .cache
	@.venv/bin/lint-imports --no-logo >.cache/imports.log 2>&1 || { cat .cache/imports.log; exit 1; }

unit: ## Run the unit tests (ARGS='tests/core -k watermark' for some)
	@$(PY) -m pytest -q $(if $(ARGS),$(ARGS),tests $(SLOW:%=--ignore=tests/%))

generate: ## Write what is generated from the code: tables in docs, schemas, dashboards and alert rules
	@$(PY) -m tests.architecture
	@$(PY) -m monitoring

test: setup check ## Run everything: the checks, and all tests with a real Kafka, real receivers and real processes
	@$(PY) -m pytest -q -n 3 --dist loadfile tests/integration tests/contracts tests/e2e tests/faults

test-faults: setup ## Play 20 rounds of faults against a whole service (ARGS='--rounds 200', '--help' for more)
	@$(PY) -m tests.faults $(ARGS)

soak: setup ## Run mixed load with restarts for an hour: does anything grow or get lost? (ARGS='--minutes 40', '--help' for more)
	@$(PY) -m tests.soak $(ARGS)

image: setup ## Build the Dockerfile by hand in a Debian folder, and run the result with a read-only root (needs root)
	@$(PY) -m tests.image $(ARGS)

bench: setup ## Measure speed as ratios against bare loops, and the whole pipeline (minutes; ARGS=--help)
	@$(PY) -m tests.bench $(ARGS)

clean: ## Remove everything that was installed and built here; the data of `make run` (.hookstream) stays
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/receivers/node_modules
