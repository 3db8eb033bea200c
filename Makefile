# make run: the default study to its report. make test: all tests. Both make .venv when it is missing.
#   make test-faults                                  trials of damaged files, full disks, killed jobs
#   make test-slurm                                   faults on a Slurm of one node, brought up for it
#   make run ARGS="--configfile config/mnist.yaml"    another study
#   make run ARGS="--resources gpu=4" CORES=16        a machine with four GPUs
#   make pilot                                        some of the networks, to see whether they fit
#   make publish STUDY=demo                           its results as a folder for an archive
#   make plan                                         what would run; takes the same ARGS
#   make run VENV=/path/to/environment                one of your own, conda's too; it is left as it is
PYTHON ?= python3
CORES ?= all
ARGS ?=
STUDY ?= demo

# an environment that is named is checked, by $(CHECKED), and never written to
ifeq ($(strip $(VENV)),)
override VENV := .venv
FOR_RUN := .venv/.sensigap-installed
FOR_TEST := $(FOR_RUN)
FOR_CHECK := $(FOR_RUN)
else
# the quotes below, for names with spaces, keep the shell from reading ~
override VENV := $(patsubst ~/%,$(HOME)/%,$(VENV))
FOR_RUN := named-study
FOR_TEST := named-test
FOR_CHECK := named-dev
endif
CHECKED := named-study named-test named-dev
BIN := $(VENV)/bin

.PHONY: run pilot plan publish test test-faults test-slurm check format $(CHECKED)

run: $(FOR_RUN)
	@"$(BIN)/python" workflow/run.py --cores $(CORES) $(ARGS)

# networks of the study, trained first: what fits, and how many each claim will have
pilot: $(FOR_RUN)
	@"$(BIN)/python" workflow/run.py pilot --forcerun pilot --cores $(CORES) $(ARGS)

plan: $(FOR_RUN)
	@"$(BIN)/python" workflow/run.py --cores $(CORES) --dry-run $(ARGS)

publish: $(FOR_RUN)
	@"$(BIN)/python" -m sensigap publish "results/$(STUDY)" $(ARGS)

test: $(FOR_TEST)
	"$(BIN)/python" -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(ARGS)

# what may happen to each file of a study, hundreds of trials; prints a table
test-faults: $(FOR_TEST)
	"$(BIN)/python" -m pytest tests/faults -m faults --capture=sys $(ARGS)

# the Slurm profile on a Slurm of one node, brought up from Debian's packages and down again, for root
test-slurm: $(FOR_CHECK)
	"$(BIN)/python" -m pytest tests/slurm -m slurm $(ARGS)

check: $(FOR_CHECK)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/snakefmt" --check Snakefile workflow
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"
	"$(BIN)/snakemake" --lint

format: $(FOR_CHECK)
	"$(BIN)/ruff" check --fix .
	"$(BIN)/ruff" format .
	"$(BIN)/snakefmt" Snakefile workflow

$(CHECKED): named-%:
	@test -x "$(BIN)/python" || \
		{ echo "$(BIN)/python: expected the Python of an environment, found none. Name another with VENV=..., or leave VENV out: make then makes .venv." >&2; exit 1; }
	@"$(BIN)/python" -B workflow/support/check_environment.py $*

.venv/.sensigap-installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, found " + sys.version.split()[0] + ": name one with make PYTHON=...")'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "No virtual environment could be made: Debian and Ubuntu need the package python3-venv."; exit 1; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
