# The commands a person needs. `make` alone prints them; ARGS="..." is handed on.

python  := .venv/bin/python
ROUNDS  ?= 10
# Where Debian's package postgresql-15 is. Caudex promises to run on 15, the oldest version.
POSTGRES_15 ?= /usr/lib/postgresql/15/bin
# Processes that tests run in. Tests wait about as much as they work, so four suit two cores.
JOBS    ?= 4
pytest  := sh .ci/pytest.sh
spread   = -n $(JOBS) --dist worksteal
compile := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --custom-compile-command 'make lock' $(ARGS)

# Tests start hundreds of processes. Without a cache of bytecode, each compiles every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test test-all test-oldest test-store demo check lint types imports fmt-check fmt docs-check docs bench bench-check profile console-size console-figures console-check screenshots bench-lock faults soak lock newest audit clean

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: .venv/.dev ## Make .venv with everything that running, tests and checks need

run: .venv/.runtime ## Serve on port 9100, setting up first what is missing
	@.venv/bin/caudex serve $(ARGS)

test: .venv/.dev ## Run the tests but the slow ones, in parallel (ARGS="-k name", JOBS=4)
	$(pytest) $(spread) -m "not slow" $(ARGS)

test-all: .venv/.dev ## Run every test, in parallel (ARGS=tests/kernel runs those of a folder)
	$(pytest) $(spread) $(ARGS)
	@$(if $(strip $(ARGS)),:,$(MAKE) --no-print-directory test-oldest)

test-oldest: .venv/.dev ## Run the tests of the contract and of ctx.sql on PostgreSQL 15 of Debian, where it is installed
	@if [ -x $(POSTGRES_15)/postgres ]; then \
	  CAUDEX_TEST_POSTGRES_BIN=$(POSTGRES_15) $(pytest) $(spread) tests/acceptance tests/conformance tests/plugins/app_logins/test_caller_sql.py $(ARGS); \
	else echo "skipped: postgresql-15 is not installed in $(POSTGRES_15)"; fi

test-store: .venv/.dev ## Run the tests of storage_s3 against the server in CAUDEX_TEST_S3_ENDPOINT
	@[ -n "$$CAUDEX_TEST_S3_ENDPOINT" ] || { echo "set CAUDEX_TEST_S3_ENDPOINT, _BUCKET, _ACCESS_KEY_ID, _SECRET_ACCESS_KEY"; exit 2; }
	$(pytest) tests/contrib/storage_s3/test_conformance.py $(ARGS)

demo: .venv/.runtime ## Run the CRM example with data
	@$(python) -m examples.crm.demo $(ARGS)

check: lint types imports docs-check fmt-check console-check ## Run every check but the tests

lint: .venv/.dev ## Check the code's style
	.venv/bin/ruff check .

types: .venv/.dev ## Check the types
	.venv/bin/basedpyright

imports: .venv/.dev ## Check the import rules
	.venv/bin/lint-imports --no-logo

fmt-check: .venv/.dev ## Check the formatting
	.venv/bin/ruff format --check .

fmt: .venv/.dev ## Format the code and fix what can be fixed
	.venv/bin/ruff check --fix --exit-zero .
	.venv/bin/ruff format .
	@sh .ci/js.sh format

docs-check: .venv/.dev ## Check that the generated pages of docs/ are current
	$(python) -m docs.generate --check

docs: .venv/.dev ## Generate the reference pages of docs/, and a site of all pages in build/site
	$(python) -m docs.generate
	$(python) -m docs.database
	$(python) -m sphinx --conf-dir docs --builder html --nitpicky --fail-on-warning --quiet . build/site

bench: .bench/.ready ## Measure speed beside others, in ratios (ARGS="--quick --only jobs,rpc")
	$(python) -m tests.benchmarks $(ARGS)

bench-check: .venv/.dev ## Fail where a request costs more processor time than at the last tag
	$(python) -m tests.benchmarks.check $(ARGS)

profile: .bench/.ready ## Draw a flame graph of the server under reads
	$(python) -m tests.benchmarks.profile $(ARGS)

bench-lock: .venv/.dev ## Write the lock file of what the benchmark compares with
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --custom-compile-command 'make bench-lock' $(ARGS) \
	  tests/benchmarks/peers/requirements.in -o tests/benchmarks/peers/requirements.txt

console-size: .venv/.dev ## Print the size of the console, and fail beyond its budget
	$(python) -m plugins.console.assets.size

console-figures: .venv/.dev ## Print the size of the console and the times that it promises (needs chromium)
	$(python) -m tests.plugins.console.figures

console-check: ## Check types and formatting of the console's JavaScript, where Node.js is
	@sh .ci/js.sh check

screenshots: .venv/.dev ## Make the pictures of the console in docs/pictures (needs chromium)
	$(python) -m docs.screenshots

faults: .venv/.dev ## Kill servers, workers and PostgreSQL, and see that nothing is lost
	$(python) -m pytest tests/faults $(ARGS)

soak: .venv/.dev ## For hours: all tests with both drivers and the interleaving test, ROUNDS=10 times (ARGS=tests/faults)
	for round in $$(seq $(ROUNDS)); do \
	  $(pytest) $(spread) --quiet $(ARGS) && \
	  CAUDEX_TEST_STATEMENTS=kernel $(pytest) $(spread) --quiet $(ARGS) && \
	  $(python) -m pytest --hypothesis-profile=soak --timeout=0 --quiet tests/plugins/pipeline/test_interleaved.py || exit 1; \
	done
	$(python) -m pytest --hypothesis-profile=soak --timeout=0 --quiet tests/plugins/apps tests/plugins/data tests/plugins/rbac

lock: .venv/.dev ## Write the lock files again (ARGS=--upgrade for newer versions)
	$(compile) pyproject.toml -o requirements.lock
	$(compile) --group build -c requirements.lock -o requirements-build.lock
	$(compile) pyproject.toml --group build --group dev --all-extras -c requirements.lock \
	  -c requirements-build.lock -o requirements-dev.lock
	$(python) .ci/sbom.py

newest: .venv/.dev ## Run tests with the newest uvicorn, starlette and psycopg, beyond their bounds
	.venv/bin/uv venv --quiet --allow-existing --python $(python) .newest
	.venv/bin/uv pip install --quiet --python .newest/bin/python -r requirements-dev.lock
	.venv/bin/uv pip install --quiet --python .newest/bin/python --no-deps --no-build-isolation -e .
	.venv/bin/uv pip install --quiet --python .newest/bin/python --upgrade uvicorn starlette 'psycopg[binary,pool]'
	.newest/bin/python -m pytest $(spread) --quiet -m "not slow" $(or $(ARGS),tests/kernel tests/plugins/http_server tests/plugins/pipeline tests/plugins/data)

audit: .venv/.dev ## Look for known vulnerabilities in what is locked (needs an advisory service)
	.venv/bin/pip-audit --strict --require-hashes --disable-pip -r requirements.lock $(ARGS)

clean: ## Remove .venv and the files that the tools made
	rm -rf .venv .bench .newest .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.runtime: .ci/setup.sh pyproject.toml requirements.lock requirements-build.lock kernel/caudex.py
	@sh .ci/setup.sh runtime

.venv/.dev: .ci/setup.sh pyproject.toml requirements.lock requirements-dev.lock kernel/caudex.py
	@sh .ci/setup.sh dev

.bench/.ready: tests/benchmarks/peers/requirements.txt .venv/.dev
	.venv/bin/uv venv --quiet --allow-existing --python .venv/bin/python .bench
	.venv/bin/uv pip install --quiet --python .bench/bin/python --require-hashes -r $<
	@touch $@
