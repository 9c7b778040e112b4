# Everything sets itself up: the first call makes .venv, later calls find it as it is.
#
#   make demo     the first program, then a workflow killed with kill -9 that resumes where it was
#   make test     all tests on a real Postgres: PYENGINE_TEST_DATABASE_URL, else Docker, else a private one
#                 (make test ARGS="tests/sql -k claim" for some of them)
#   make soak     hours: steady load in which nothing may drift, then chaos: hosts, links and servers fail by a seed, then the model
#                 (SOAK_SECONDS=3600 of each, CHAOS_SEED to repeat one; make soak-load for the first alone)
#   make bench    this engine, its peers and the physical floor side by side (make bench ARGS=--full: half an hour)
#   make bench-smoke   every benchmark once: that all of them run, no verdict on time
#   make check    style, types, SQL and layout
#   make clean    removes what make made here

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
ARGS ?=
SOAK_SECONDS ?= 3600

.PHONY: demo test soak soak-load bench plots bench-smoke check venv clean

demo: $(READY)
	@$(BIN)/python examples/demo/run.py

test: $(READY)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

soak: soak-load
	@SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -x tests/chaos/test_chaos.py $(ARGS)
	@PYENGINE_SOAK=1 $(BIN)/python -m pytest -x tests/model

soak-load: plots
	@$(BIN)/python -m bench soak --seconds $(SOAK_SECONDS)

bench: plots
	@$(BIN)/python -m bench compare $(ARGS)

plots: $(READY)
	@$(BIN)/python -c 'import matplotlib' 2>/dev/null || $(BIN)/python -m pip install -qq --disable-pip-version-check --editable ".[bench]"

bench-smoke: $(READY)
	@$(BIN)/python -m pytest tests/bench --benchmark-enable --benchmark-columns=min,median,max,ops $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/sql_lint.py
	$(BIN)/python -m pytest -q tests/packaging/test_layout.py

venv: $(READY)

$(READY): pyproject.toml pyengine/_version.py tools/make_venv
	@tools/make_venv $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
