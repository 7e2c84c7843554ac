# Each target does its own set-up: on a Debian or Ubuntu machine it takes python3 (>= 3.11), python3-venv and make.
#   make demo     train on part of a real genome, a few minutes on two cores
#   make test     format, lint, types and all tests
#   make check    the same with the fast tests only, under two minutes
#   make docs     build the site in docs/_build/html, and docs/hparams.md from the definitions
#   make bench    every benchmark, one JSON line a figure
#   make release  all tests, then tag the version of seqmodel/__init__.py
#   make clean    remove the environment, caches and the demo's output (never out/ of your own runs)
#   make PYTHON=/path/to/python3.12 demo     with another Python

SHELL := /bin/sh
BIN := .venv/bin
export PYTHON

# Tests run several processes at once; one thread each is faster and gives the same bits everywhere.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.NOTPARALLEL:
.PHONY: demo test check docs bench release clean lint env-demo env-test env-docs programs

demo: env-demo
	@$(BIN)/python examples/demo.py

test: programs lint
	$(PYTEST)

check: lint
	$(PYTEST) -m "not slow"

lint: env-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: env-docs
	@before=$$(cksum docs/hparams.md) && $(BIN)/python -m seqmodel.hparam.docs && \
	if [ "$$before" != "$$(cksum docs/hparams.md)" ]; then \
	    echo "make docs: docs/hparams.md was out of date and is now rewritten: commit it" >&2; exit 1; \
	fi
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -b html -c docs . docs/_build/html
	@echo docs/_build/html/index.html

bench: env-test
	@for file in benchmarks/*.py; do $(BIN)/python "$$file" || exit 1; done

release: test
	@tools/release.sh

clean:
	rm -rf .venv build dist *.egg-info out/demo docs/_build
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find seqmodel tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

env-demo:
	@tools/environment.sh demo

env-test:
	@tools/environment.sh test

env-docs:
	@tools/environment.sh docs

programs:
	@tools/programs.sh
