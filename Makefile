# `make` lists what there is. Only Python 3.12 or 3.13 is needed; everything else goes into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON := $(shell for python in python3.12 python3.13 python3 python; do \
	"$$python" -c 'import sys; sys.exit(not (3, 12) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: run
run: $(READY) ## Set up and start the assistant on 127.0.0.1:8321
	@$(BIN)/lightspeed up

.PHONY: test
test: $(READY) ## Set up and run every check and test
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest

.PHONY: check
check: $(READY) ## Lint, types, import rules, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m distributions.lightspeed.generate --check

.PHONY: record
record: $(READY) ## Record the cassettes again from the embedded model
	rm -f tests/cassettes/*.yaml
	$(BIN)/python -m pytest tests/integration -m vcr --record-mode=once

.PHONY: generate
generate: $(READY) ## Write run.yaml from the template
	$(BIN)/python -m distributions.lightspeed.generate

.PHONY: pin
pin: $(READY) ## Resolve constraints.txt again from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra evaluate --extra names --extra transcripts --group dev --universal --python-version 3.12 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		--upgrade --output-file constraints.txt

.PHONY: bench
bench: $(READY) ## Measure start and answer beside the stock starter
	$(BIN)/python benchmarks/start_and_answer.py

.PHONY: clean
clean: ## Remove what was built here; indexes and transcripts in your home stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(READY): constraints.txt pyproject.toml run.yaml $(wildcard distributions/lightspeed/apis.d/*.yaml distributions/lightspeed/profiles/*.yaml)
	@test -n "$(PYTHON)" || { echo "Python 3.12 or 3.13 is needed and none was found: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	@# Compiled once here, every later start is seconds faster.
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement constraints.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
