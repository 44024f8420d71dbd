# Every target sets up what it needs, once: the locked versions of all packages, in .venv.
# SET=newest takes the newest versions instead, SET=oldest (with Python 3.11) the oldest supported,
# each beside it.
PYTHON ?= python3
PROFILE ?= quick
SET ?= lock
VENV := $(if $(filter lock,$(SET)),.venv,.venv-$(SET))
BIN := $(VENV)/bin
LEARNER := $(VENV)/.learner
TESTER := $(VENV)/.tester
LEARNERS_PACKAGES := requirements/$(if $(filter lock,$(SET)),lab,$(SET)).txt
TESTERS_PACKAGES := requirements/$(if $(filter lock,$(SET)),test,$(SET)).txt
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Torch's threads (libgomp's) spin while they wait for each other. When another program takes one of
# two cores, its usual 300,000 turns made a small training forty times slower; these make it six times,
# and cost nothing on a machine alone.
export GOMP_SPINCOUNT ?= 10000

.DEFAULT_GOAL := help
.PHONY: help lab course check test coverage notebooks bench doctor hooks upgrade clean

help:
	@echo "make lab        open the course in JupyterLab"
	@echo "make course     run all chapters and print the table of claims (PROFILE=quick or full)"
	@echo "make check      run all chapters and say what differs from the committed ones"
	@echo "make test       lint, types, contracts, unit tests, programs, then all notebooks"
	@echo "make coverage   which lines the tests reach"
	@echo "make notebooks  run the chapters again and save them as they are committed"
	@echo "make bench      ratios of running times, side by side"
	@echo "make doctor     versions, device, data and weights: what is there and what is not"
	@echo "make hooks      lint at every git commit"
	@echo "make upgrade    resolve the locked versions anew, run everything, say what changed"
	@echo "make clean      remove what was built, but keep .venv"

# A stamp is written last, so an interrupted set-up starts again.
$(LEARNER): pyproject.toml $(LEARNERS_PACKAGES)
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("tlcourse needs Python 3.11, 3.12 or 3.13, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Setting up $(VENV) once; torch makes it about 6 GB and a few minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r $(LEARNERS_PACKAGES)
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(TESTER): $(LEARNER) $(TESTERS_PACKAGES)
	@$(PIP) -r $(TESTERS_PACKAGES)
	@touch $@

# The files browser shows the whole clone, and chapter 00 is open. JupyterLab would ask its makers
# for news, updates and extensions, and the reader whether it may; the course stays offline.
lab: $(LEARNER)
	@$(BIN)/jupyter lab --ServerApp.root_dir=. \
	  --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --LabApp.extension_manager=readonly --LabApp.app_settings_dir=.jupyter

course: $(LEARNER)
	@$(BIN)/python -m tlcourse course --profile $(PROFILE)

check: $(LEARNER)
	@$(BIN)/python -m tlcourse check

test: $(TESTER)
	@$(BIN)/python tests/run_all.py

coverage: $(TESTER)
	@TLCOURSE_PROGRESS=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 \
	  --cov --cov-report=term:skip-covered tests

notebooks: $(LEARNER)
	@$(BIN)/python -m tlcourse course --save

bench: $(TESTER)
	@TLCOURSE_PROGRESS=0 $(BIN)/python benchmarks/cached_features.py
	@$(BIN)/python benchmarks/freezing.py
	@$(BIN)/python benchmarks/architectures.py
	@$(BIN)/python benchmarks/compiled.py
	@$(BIN)/python benchmarks/depthwise.py

doctor: $(LEARNER)
	@$(BIN)/python -m tlcourse doctor

hooks: $(TESTER)
	@$(PIP) pre-commit
	@$(BIN)/pre-commit install

# Each step runs whatever the one before found: the report is for whoever decides.
upgrade: $(TESTER)
	@$(PIP) uv
	@mkdir -p _build
	@$(BIN)/python requirements/resolve.py --upgrade > _build/upgrade.md
	-@$(MAKE) --no-print-directory test
	-@$(BIN)/python -m tlcourse check >> _build/upgrade.md
	@cat _build/upgrade.md

clean:
	rm -rf _build .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
