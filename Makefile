# Each target sets up .venv by itself; a Python of at least 3.11, pip and make suffice.
# PYTHON=/path/to/python chooses the Python, ARGS=... goes to pytest or nox.

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test browser lint format types docs matrix wheel bench clean

help:  ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## Serve the example shop and the Customer.io sandbox on this machine
	@scripts/venv demo
	@$(BIN)/python example_project/manage.py demo $(ARGS)

test:  ## Run the suite on SQLite, and on PostgreSQL and MariaDB where they answer
	@scripts/venv test mariadb
	@$(BIN)/python scripts/suite.py $(ARGS)

browser:  ## Run the tests that drive a real Chromium
	@scripts/venv test browser
	@$(BIN)/python -m pytest -m browser $(ARGS)

lint:  ## Check style, formatting and the layers
	@scripts/venv lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format:  ## Format the code and apply safe fixes
	@scripts/venv lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types:  ## Check the types, strictly, and the public API as its users see it
	@scripts/venv types
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy tests/typing/api.py

docs:  ## Build the documentation; a warning is an error
	@scripts/venv docs
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

matrix:  ## Run the suite on every supported Python and Django found here
	@scripts/venv nox
	$(BIN)/nox -s tests $(ARGS)

wheel:  ## Build the wheel and try it in an empty environment
	@scripts/venv nox
	$(BIN)/nox -s wheel

bench:  ## Measure this machine (PostgreSQL, MariaDB and SQLite where they answer)
	@scripts/venv test mariadb
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## Remove what the other targets made
	rm -rf .venv .nox build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache .coverage .coverage.*
