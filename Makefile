# Every target sets up what it needs, once: an environment in .venv with all packages.
PYTHON ?= python3
PROFILE ?= quick
BIN := .venv/bin
INSTALLED := .venv/.installed

# Torch's threads (libgomp's) spin while they wait for each other. When another program takes one of
# two cores, its usual 300,000 turns made a small training forty times slower; these make it six times,
# and cost nothing on a machine alone.
export GOMP_SPINCOUNT ?= 10000

.DEFAULT_GOAL := help
.PHONY: help lab course test notebooks bench doctor clean

help:
	@echo "make lab        open the course in JupyterLab"
	@echo "make course     run all chapters and print the table of claims (PROFILE=quick or full)"
	@echo "make test       lint, unit tests, then all notebooks"
	@echo "make notebooks  run the chapters again and save them as they are committed"
	@echo "make bench      ratios of running times, side by side"
	@echo "make doctor     versions, device, data and weights: what is there and what is not"
	@echo "make clean      remove what was built, but keep .venv"

# The stamp is written last, so an interrupted set-up starts again.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("tlcourse needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "Setting up .venv once; torch makes it about 6 GB and a few minutes."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[lab,test]"
	@touch $(INSTALLED)

# JupyterLab would ask its makers for news, updates and extensions; the course stays offline.
lab: $(INSTALLED)
	@$(BIN)/jupyter lab notebooks/00_start_here.ipynb --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	  --LabApp.extension_manager=readonly

course: $(INSTALLED)
	@$(BIN)/python -m tlcourse course --profile $(PROFILE)

test: $(INSTALLED)
	@$(BIN)/python tests/run_all.py

notebooks: $(INSTALLED)
	@$(BIN)/python -m tlcourse course --save

bench: $(INSTALLED)
	@TLCOURSE_PROGRESS=0 $(BIN)/python benchmarks/cached_features.py
	@$(BIN)/python benchmarks/freezing.py
	@$(BIN)/python benchmarks/architectures.py
	@$(BIN)/python benchmarks/compiled.py

doctor: $(INSTALLED)
	@$(BIN)/python -m tlcourse doctor

clean:
	rm -rf _build .pytest_cache .ruff_cache
