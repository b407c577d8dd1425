# Everything a newcomer needs. Each target does its own set-up: Python >= 3.11, make and a package index are enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

# the machine's own certificates, and the package index that pip is configured with, if any
export UV_SYSTEM_CERTS ?= true
define install_locked
	index="$$($(BIN)/python -m pip config list | sed -n "s/^[a-z:]*\.index-url='\(.*\)'$$/\1/p" | tail -n 1)"; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$index}"; fi; \
	echo "installing $(1) into $(VENV)"; \
	$(UV) --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r $(1) && \
	$(UV) pip install --quiet --python $(BIN)/python --no-deps -e .
endef

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint fmt bench chaos soak serve lock contract clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(DEV) ## Create .venv with everything that tests and checks need, from the lock

demo: $(RUNTIME) ## Ask a simulated household's question through real events, in embedded mode
	$(BIN)/expert-bot demo

test: $(DEV) ## Run every test (emulator tests skip where the emulators are missing, unless CI=true)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: lint ## Lint, types, imports, contract drift, and the tests that need no emulator
	$(BIN)/python -m pytest -m "not emulator and not slow" $(PYTEST_ARGS)

lint: $(DEV) ## Format check, lint, types, import rules, contract drift
	$(BIN)/ruff format --check src tests docs
	$(BIN)/ruff check src tests docs
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/expert-bot contract check
	$(BIN)/python docs/generate.py --check

fmt: $(DEV) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix src tests docs
	$(BIN)/ruff format src tests docs

bench: $(DEV) ## Time delivery beside other stacks' loops, the path against its floor, files, comparisons and analyses
	$(BIN)/python -m tests.bench.delivery
	$(BIN)/python -m tests.bench.process_path
	$(BIN)/python -m tests.bench.load_file
	$(BIN)/python -m tests.bench.comparison
	$(BIN)/python -m tests.bench.analysis_speed

soak: $(DEV) ## Half an hour of steady work: does memory grow?
	$(BIN)/python -m tests.bench.soak

chaos: $(DEV) ## Every figure of docs/explanation/delivery.md in full, 10,000 events and 200 kills among them (CHAOS_ARGS=--quick)
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

serve: $(RUNTIME) ## Run the service (HTTP and consumers) in the configured mode
	$(BIN)/expert-bot serve

contract: $(DEV) ## Write the generated contract files and reference pages
	$(BIN)/expert-bot contract write
	$(BIN)/python docs/generate.py

lock: $(DEV) ## Resolve the dependencies again and write the lock files
	$(UV) pip compile -q pyproject.toml --universal --python-version 3.11 --all-extras --group dev --upgrade \
		--generate-hashes --no-annotate --no-header --no-emit-index-url -o locks/dev.txt
	$(UV) pip compile -q pyproject.toml --universal --python-version 3.11 -c locks/dev.txt \
		--generate-hashes --no-annotate --no-header --no-emit-index-url -o locks/runtime.txt
	printf '%s\n' local-bigquery==0.3.2 $(addsuffix ==1.5.5,duckdb duckdb-extension-icu duckdb-extension-ducklake duckdb-extension-spatial) | \
		$(UV) pip compile -q - --universal --python-version 3.13 \
		--generate-hashes --no-annotate --no-header --no-emit-index-url -o locks/local-bigquery.txt

clean: ## Remove the environment, caches and the embedded data
	rm -rf $(VENV) .cache .expert-bot .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python >= 3.11 is needed, $$($(PYTHON) --version) found; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml locks/runtime.txt | $(VENV)/bin/python
	@$(call install_locked,locks/runtime.txt)
	@touch $@

$(DEV): pyproject.toml locks/dev.txt | $(VENV)/bin/python
	@$(call install_locked,locks/dev.txt)
	@touch $@ $(RUNTIME)
