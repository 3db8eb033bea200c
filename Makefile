# make run: the default study to its report. make test: all tests. Both make .venv when it is missing.
#   make run ARGS="--configfile config/mnist.yaml"    another study
#   make run ARGS="--resources gpu=4" CORES=16        a machine with four GPUs
#   make run ARGS=-n                                  what would run
PYTHON ?= python3
VENV ?= .venv
CORES ?= all
ARGS ?=

# a conda or system environment may be used instead: make run VENV=/path/to/environment
READY := $(VENV)/.sensigap-installed

.PHONY: run test check format

run: $(READY)
	@$(VENV)/bin/python workflow/run.py --cores $(CORES) $(ARGS)

test: $(READY)
	$(VENV)/bin/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(ARGS)

check: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/snakefmt --check Snakefile workflow
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/snakemake --lint

format: $(READY)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/snakefmt Snakefile workflow

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + ": name one with make PYTHON=...")'
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "No virtual environment could be made: Debian and Ubuntu need the package python3-venv."; exit 1; }
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
