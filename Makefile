# Every target does its own set-up; it is skipped when nothing has changed.
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check chaos bench lock docs format
PYTHON := .venv/bin/python
READY := workshop/setup
# Tests wait for servers and disks some of the time. The tests of a file stay together: they share a server. Files come
# in their order, not the ones with the most tests first: those of servers are long, and the short ones end the run evenly.
PARALLEL := --numprocesses=3 --dist=loadfile --no-loadscope-reorder
# Programs that the set-up put into the virtualenv (a Go toolchain, where the machine has none) are found first.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:  ## Print these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile

demo:  ## Back up, destroy, restore and prove a throw-away PostgreSQL
	@$(READY) demo
	.venv/bin/holdfast demo

test:  ## Run the ordinary tests, against real servers
	@$(READY) test
	$(PYTHON) -m pytest $(PARALLEL)

test-slow:  ## Run the slow tests too
	@$(READY) test
	$(PYTHON) -m pytest $(PARALLEL) -m "slow or not slow"

chaos:  ## Kill and damage everything at random instants (prints its seed)
	@$(READY) test
	$(PYTHON) -m pytest tests/chaos -m "slow or not slow"

check:  ## Lint, types, layers, docs, lock file: under 30 seconds
	@$(READY) python
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	$(PYTHON) -m workshop.lock check
	$(PYTHON) -m pytest -q tests/unit/test_layers.py tests/unit/test_docs.py

format:  ## Put the code into the house's format
	@$(READY) python
	.venv/bin/ruff format .

docs:  ## Write the reference pages that are made from the code
	@$(READY) python
	$(PYTHON) -m workshop.reference

bench:  ## Measure against the peers
	@$(READY) bench
	$(PYTHON) -m benchmarks.run

lock:  ## Resolve the dependencies anew into requirements.lock
	@$(READY) python
	$(PYTHON) -m workshop.lock write
