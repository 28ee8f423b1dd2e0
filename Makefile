# Two commands: `make book` and `make test`. They need Python 3.10 or later, make, and the package index.
# While you work on the code, `make unit` is the quick one.
PYTHON ?= python3
PORT ?= 8000
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUILT := _build/.built
FRESH := _build/.fresh
OTHERS := _build/bench
WITHOUT_BOOK := --ignore=tests/test_book.py

# What a cell's output depends on besides the cell itself; the execution cache does not look at these.
INPUTS := $(INSTALLED) $(shell find nbutils data tests/golden -type f -not -path '*/__pycache__/*' 2>/dev/null)
PAGES := _config.yml _toc.yml index.md $(shell find chapters _static -type f -not -path '*/.*' -not -path '*/__pycache__/*' 2>/dev/null)

# Progress bars would fill the pages; a kernel of the same name elsewhere must not take over.
# Notebooks and tests run side by side, each on one core; without bytecode, PyTorch takes 9 s to import and not 3.
BOOK_ENV := BOOK_STATIC=1 TQDM_DISABLE=1 JUPYTER_PREFER_ENV_PATH=1 PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1

EDITION := PYTHONPATH=chapters $(BOOK_ENV) $(BIN)/python -m editions

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help book test unit types format serve student teacher nbgrader slides train links registry cover bench lock clean

help:  ## list the targets
	@echo "Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "Variables: PYTHON=$(PYTHON) (3.10 or later), PORT=$(PORT) (for serve)"

book: $(BUILT)  ## execute every notebook and render the book in _build/html
	@echo "The book is ready. Open $(CURDIR)/_build/html/index.html, or run: make serve"

test: $(BUILT)  ## check the code, the notebooks, their claims and the rendered pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BOOK_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

unit: $(INSTALLED)  ## check the code in a few minutes, without the book and without slow tests
	$(BIN)/ruff check .
	$(BOOK_ENV) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(WITHOUT_BOOK) $(PYTEST_ARGS)

types: $(INSTALLED)  ## check the types of nbutils
	$(BIN)/mypy

format: $(INSTALLED)  ## format the code and the notebooks, and strip the notebooks of their outputs
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .
	$(BIN)/nbstripout --keep-id chapters/*.ipynb chapters/reference/*.ipynb

serve: $(BUILT)  ## show the book at http://127.0.0.1:8000
	@echo "Open http://127.0.0.1:$(PORT) and stop with Ctrl-C"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

student: $(INSTALLED)  ## write the edition without solutions in _build/student, to be pushed for a course
	$(EDITION) $@

teacher: $(INSTALLED)  ## write the notebooks with open solutions, usual mistakes and points in _build/teacher
	$(EDITION) $@

nbgrader: $(INSTALLED)  ## write an assignment for each chapter, for nbgrader, in _build/nbgrader
	$(EDITION) $@

slides: $(BUILT)  ## write a deck of each chapter's figures and takeaways in _build/slides
	$(EDITION) $@

train: $(INSTALLED)  ## train the small networks again (about ten minutes) and save them in data/small_world
	$(BIN)/python -m nbutils.smallworld.training

links:  ## write the repository's address from _config.yml, and the version, into every notebook
	PYTHONPATH=. $(PYTHON) chapters/repository.py

registry: $(INSTALLED)  ## write the SHA-256 of the atlases' files into data/registry.txt
	$(BIN)/python -m nbutils._data

cover: $(INSTALLED)  ## draw the figure of the README and the front page again
	$(BIN)/python chapters/cover.py

bench: $(INSTALLED) $(OTHERS)/.installed  ## measure speed beside other libraries, a quarter of an hour, into data/bench.json
	$(BIN)/python tests/bench.py --others $(OTHERS)/bin/python

lock: $(BIN)/uv  ## choose the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --extra book --extra test \
		--custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

clean:  ## remove the built book and the caches (the environment stays in .venv)
	rm -rf _build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find nbutils tests chapters -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "$(PYTHON) is missing or older than Python 3.10. Name a newer one: make book PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

# Matplotlib says on stderr that it builds its font cache, the first time; a page must not show that.
$(INSTALLED): $(BIN)/uv requirements.lock pyproject.toml
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -c 'import matplotlib.font_manager' 2>/dev/null
	@touch $@

# DADApy 0.3.4 wants an old NumPy, and is built from source.
$(OTHERS)/.installed: $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python 3.11 $(OTHERS)
	$(BIN)/uv pip install --quiet --python $(OTHERS)/bin/python dadapy==0.3.4 faiss-cpu
	@touch $@

$(FRESH): $(INPUTS)
	@rm -rf _build/.jupyter_cache
	@mkdir -p _build && touch $@

# --all and an empty folder: with -W a warning must fail every build until it is mended, and no old page stays.
$(BUILT): $(FRESH) $(PAGES)
	@rm -rf _build/html
	$(BOOK_ENV) $(BIN)/python chapters/execute.py
	@mkdir -p _build/html
	$(BIN)/python chapters/explorer.py & explorer=$$!; \
	$(BOOK_ENV) $(BIN)/jupyter-book build --all -W --keep-going .; built=$$?; \
	wait $$explorer && exit $$built
	$(BIN)/python chapters/expected.py
	@touch $@
