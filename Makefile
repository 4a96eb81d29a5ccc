# Everything runs from .venv, which the first target that needs it makes; nothing else is touched.
# Variables: PYTHON (3.11 or newer), TORCH (what pip installs for torch).
PYTHON ?= python3
TORCH ?= torch==2.13.0

BIN := .venv/bin
# On a terminal pip shows what it downloads.
PIP := $(BIN)/python -m pip install $(shell test -t 2 || echo --quiet) --disable-pip-version-check --no-input
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.DELETE_ON_ERROR:
.NOTPARALLEL: # two pips in one environment
.PHONY: help demo compare theory test test-slow test-gpu lint bench clean scatter

help:
	@echo "make demo       set up .venv, then run the whole pipeline on the embedded digits: four to five minutes"
	@echo "make compare    set up .venv, then every architecture on the digits over three seeds: about 40 minutes"
	@echo "make theory     set up .venv, then every construction and counterexample of the theory: about a minute"
	@echo "make test       set up .venv, then the tests; also test-slow, test-gpu"
	@echo "make lint       ruff check, ruff format --check, mypy"
	@echo "make bench      set up .venv, then time the models on this machine: under two minutes"
	@echo "make scatter    compile torch-scatter into .venv, for speed on batches of mixed architectures: minutes"
	@echo "make clean      remove .venv, caches and build outputs; runs/, zoo/ and data/ stay"
	@echo "variables       PYTHON=$(PYTHON)  TORCH=$(TORCH)"

demo: .venv/.project
	$(BIN)/graphws demo

compare: .venv/.project
	$(BIN)/graphws zoo build inr --images digits --layout 2,16,16,1 --seed 0 --out zoo/digits
	$(BIN)/graphws sweep experiments/digits --seeds 0,1,2 --out runs/digits

theory: .venv/.project
	$(BIN)/graphws theory

test: .venv/.dev
	$(PYTEST)

test-slow: .venv/.dev
	$(PYTEST) -m slow

test-gpu: .venv/.dev
	$(BIN)/python -m pytest -m gpu

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.project
	$(BIN)/graphws bench

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp file per step, so that each happens once; the project's own again when pyproject.toml changes.
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

# The tools come with the project, in one go: pip decides once what goes together.
.venv/.dev: .venv/.torch pyproject.toml
	@echo "set-up: graphws, what it needs, and the tools for tests and lint (2 to 4 minutes)"
	@$(PIP) -e '.[dev]'
	@touch .venv/.project $@

# torch-scatter has no wheels on PyPI. It speeds up batches of mixed architectures; all else is the same without it.
scatter: .venv/.scatter

.venv/.scatter: | .venv/.project
	@command -v $${CXX:-c++} >/dev/null 2>&1 || { echo "torch-scatter needs a C++ compiler, there is none"; exit 1; }
	@echo "set-up: torch-scatter, compiled here (4 to 9 minutes on one core)"
	@$(PIP) setuptools wheel >.venv/torch-scatter.log 2>&1 && \
	  $(PIP) --no-build-isolation 'torch-scatter>=2.1.2' >>.venv/torch-scatter.log 2>&1 || \
	  { echo "torch-scatter did not build; .venv/torch-scatter.log says why"; exit 1; }
	@touch $@
