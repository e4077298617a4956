# `make demo` and `make test` set up everything they need. Python 3.11 or later with venv, and make, are enough.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
# Processes that share the tests, each with one thread; 1 GB of memory each.
JOBS ?= 2

# Many processes start: without bytecode each of them would compile PyTorch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo test test-slow lint types format check clean

help:
	@echo "make demo       render a small benchmark, train two models, write $(DEMO)/report.html"
	@echo "make test       all tests but the slow ones, and the doctests"
	@echo "make test-slow  the slow tests"
	@echo "make check      lint, types and tests: what CI runs"
	@echo "make format     format the code"

setup: $(VENV)/.installed

# overrides.txt keeps a second build of OpenCV out, see docs/dependencies.md; only uv knows overrides.
$(VENV)/.installed: pyproject.toml constraints.txt overrides.txt without-dependencies.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --override overrides.txt \
		--editable ".[all,dev]"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --requirement without-dependencies.txt
	touch $@

demo: setup
	$(BIN)/intraclip demo --out $(DEMO) $(if $(wildcard $(DEMO)/*),--resume)

test: setup
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -q -m slow

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: lint types test

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
