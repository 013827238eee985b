# make run   distils a student from the embedded teacher, writes its report, builds the site with the run on it
# make test  the whole suite
# make records  measures every pattern on its task and writes the records to commit; leave the machine alone meanwhile
# make test-real  the teachers against a real server, which it builds first; needs cmake and a C++ compiler
# All create .venv and install into it first; PYTHON names another interpreter (3.11 or newer).

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TEACHER := implementations/teachers/embedded.txt

.PHONY: run test test-real records site clean

run: $(INSTALLED)
	$(BIN)/distill run sequence-level
	$(BIN)/catalogue build --records runs/latest
	@echo
	@echo "report  $(CURDIR)/runs/latest/report.html"
	@echo "site    $(CURDIR)/site/patterns/sequence-level.html"

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/catalogue check
	$(BIN)/pytest -n logical --dist loadfile

test-real: $(INSTALLED)
	$(BIN)/python tests/llama_server.py
	$(BIN)/pytest -m real_server

records: $(INSTALLED)
	set -e; for pattern in $$($(BIN)/python -c 'from implementations.registry import RECIPES; print(*RECIPES)'); do \
	  $(BIN)/distill run $$pattern --record; done

site: $(INSTALLED)
	$(BIN)/catalogue serve --records runs

$(INSTALLED): pyproject.toml $(TEACHER)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[train,platforms,export,parquet,site,dev]'
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes --requirement $(TEACHER)
	touch $@

clean:
	rm -rf .venv site
