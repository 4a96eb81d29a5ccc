# Everything runs from .venv, which the first target that needs it makes; nothing else is touched.
# Variables: PYTHON (3.11 or newer), TORCH (what pip installs for torch), SCATTER=0 (do without torch-scatter).
PYTHON ?= python3
TORCH ?= torch==2.13.0
SCATTER ?= 1

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.DELETE_ON_ERROR:
.PHONY: help demo compare theory test test-slow test-gpu lint bench clean scatter

help:
	@echo "make demo       set up .venv, then run the whole pipeline on the embedded digits"
	@echo "make compare    set up .venv, then every architecture on the digits over three seeds: about 40 minutes"
	@echo "make theory     set up .venv, then every construction and counterexample of the theory: about a minute"
	@echo "make test       set up .venv, then the tests; also test-slow, test-gpu"
	@echo "make lint       ruff check, ruff format --check, mypy"
	@echo "make bench      set up .venv, then time the models on this machine: under two minutes"
	@echo "make clean      remove .venv, caches and build outputs; runs/, zoo/ and data/ stay"
	@echo "variables       PYTHON=$(PYTHON)  TORCH=$(TORCH)  SCATTER=$(SCATTER)"

demo: .venv/.project scatter
	$(BIN)/graphws demo

compare: .venv/.project scatter
	$(BIN)/graphws zoo build inr --images digits --layout 2,16,16,1 --seed 0 --out zoo/digits
	$(BIN)/graphws sweep experiments/digits --seeds 0,1,2 --out runs/digits

theory: .venv/.project scatter
	$(BIN)/graphws theory

test: .venv/.dev scatter
	$(PYTEST)

test-slow: .venv/.dev scatter
	$(PYTEST) -m slow

test-gpu: .venv/.dev scatter
	$(BIN)/python -m pytest -m gpu

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.project scatter
	$(BIN)/graphws bench

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file a step, so that each happens once; the project's own again when pyproject.toml changes.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "graphws needs Python 3.11 or newer, $(PYTHON) is not; name another: make PYTHON=python3.12"; exit 1; }
	@echo "set-up: .venv (seconds)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.torch: .venv/.made
	@echo "set-up: $(TORCH) (a download of up to several GB with its CUDA libraries: 2 to 15 minutes)"
	@$(PIP) $(TORCH)
	@touch $@

.venv/.project: .venv/.torch pyproject.toml
	@echo "set-up: graphws and what it needs (1 to 3 minutes)"
	@$(PIP) -e .
	@touch $@

.venv/.dev: .venv/.project
	@echo "set-up: the tools for tests and lint (under a minute)"
	@$(PIP) -e '.[dev]'
	@touch $@

# torch-scatter has no wheels on PyPI. It speeds up batches of mixed architectures; all else is the same without it.
ifeq ($(SCATTER),0)
scatter:
else
scatter: .venv/.scatter
endif

.venv/.scatter: | .venv/.project
	@if ! command -v $${CXX:-c++} >/dev/null 2>&1; then \
	  echo "set-up: no C++ compiler, so no torch-scatter: slower on mixed batches, all else the same"; \
	else \
	  echo "set-up: torch-scatter, compiled here (4 to 7 minutes the first time; SCATTER=0 skips it)"; \
	  $(PIP) setuptools wheel >.venv/torch-scatter.log 2>&1 && \
	  $(PIP) --no-build-isolation 'torch-scatter>=2.1.2' >>.venv/torch-scatter.log 2>&1 || \
	  echo "set-up: torch-scatter did not build (.venv/torch-scatter.log): slower on mixed batches, all else the same"; \
	fi
	@touch $@
