# Everything that can be run, one target each. All of them make what they need (.venv, from the lock)
# and are quick the second time. PYTHON names the interpreter: make test PYTHON=python3.13

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
PYTHON ?= python3
export PYTHON
BIN := .venv/bin
# one more than cores: many tests wait for something
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
TESTS ?= tests

.PHONY: help demo demo-machines demo-clean test test-machines kill-all check format lint types floors fresh bench schemas docs wheel lock clean run-environment dev-environment

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

# ── use ──────────────────────────────────────────────────────────────────────────────────────────

demo: run-environment ## the whole loop on this machine: plan, apply, drift, heal, prune, hold
	@$(BIN)/python -m demo

demo-machines: run-environment ## the same services on systemd-nspawn machines, and a Slurm cluster (root on Debian)
	@$(BIN)/python -m demo.machines

demo-clean: ## end and remove everything that the demo made
	@$(BIN)/python -m demo.clean 2>/dev/null || python3 -m demo.clean

# ── work ─────────────────────────────────────────────────────────────────────────────────────────

test: dev-environment ## the whole suite (TESTS=tests/unit for a part, WORKERS=4 for more processes)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not machines' $(TESTS)

test-machines: dev-environment ## roles and services on machines, for a quarter of an hour (those of systemd-nspawn need root on Debian)
	@$(BIN)/python -m pytest -n auto --dist loadfile -m machines tests/live

kill-all: dev-environment ## SIGKILL at every write of both applies, and at more points of role runs (half an hour)
	@KILL_STRIDE=1 CONTRACT_POINTS=6 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/kill tests/contract

check: format lint types floors fresh ## all that is checked without running the suite (-k: go on after a failure)

format: dev-environment ## is everything formatted? (ruff format repairs)
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted: run .venv/bin/ruff format'; exit 1; }

lint: dev-environment ## ruff, all rules but those that pyproject.toml names with a reason
	@$(BIN)/ruff check --quiet --output-format concise .

types: dev-environment ## mypy, strict, on everything
	@$(BIN)/mypy

floors: dev-environment ## imports go down only, third-party clients stay in their place
	@$(BIN)/lint-imports --cache-dir .make/import-linter > .make/floors 2>&1 || { cat .make/floors; exit 1; }

fresh: dev-environment ## schemas are valid and so are their examples; docs/reference is as the code says
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/python -m pytest -q tests/architecture/test_schemas.py

bench: dev-environment ## measure the numbers to reach
	@$(BIN)/python -m bench

schemas: run-environment ## write all JSON Schemas to build/schemas, for editors
	@$(BIN)/reconciler schema --write build/schemas

docs: dev-environment ## write docs/reference from the schemas and the code
	@$(BIN)/python docs/generate.py

wheel: dev-environment ## build dist/*.whl
	@rm -rf dist
	@$(BIN)/python -m hatchling build -t wheel -d dist

lock: ## write the lock files anew (UPGRADE=--upgrade takes newer versions)
	@scripts/lock $(UPGRADE)

clean: demo-clean ## remove everything that make made
	@rm -rf .venv .environment.lock .make .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ── environment ──────────────────────────────────────────────────────────────────────────────────

run-environment:
	@scripts/environment run

dev-environment:
	@scripts/environment dev
	@mkdir -p .make
