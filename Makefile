# Needs Python 3.11 or newer and make; for the Spark lane Java 17 or newer too.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TARGET ?= local
DOCS_SERVE ?= 1
DOCS_PORT ?= 8580
SOAK_MINUTES ?= 60
INTO ?= local
VENV := .venv
# A pip that fails must fail the target, also when its words go through sed.
SHELL := /bin/bash
.SHELLFLAGS := -e -o pipefail -c
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_VENV := .venv-bench
BENCH_READY := $(BENCH_VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run test test-truth test-faults test-pages test-cluster bench bench-quick bench-kafka bench-stores soak up down kafka-up kafka-down cluster-up cluster-down status lint sbom audit format docs lock lock-bench clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Virtual environment and hash-locked dependencies (once, about two minutes)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "setting up .venv: about 120 packages, 1.8 GB on disk, two minutes (pyspark, 450 MB, is the largest)"
	$(PYTHON) -m venv $(VENV)
	@# pyspark comes as source: what builds it is pinned as well, so it is installed first.
	@awk '/^(setuptools|wheel)==/ {take = 1} take {print} take && !/\\$$/ {take = 0}' requirements.lock > $(VENV)/build.lock
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r $(VENV)/build.lock
	$(BIN)/pip install --disable-pip-version-check --no-deps --require-hashes --no-build-isolation -r requirements.lock \
		| sed -n -E '/^(Collecting|Building|Installing|ERROR)/p'
	@$(BIN)/pip check
	@PYTHONWARNINGS=ignore $(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m loaders.jars || echo "going on without the spark target; the others are ready"
	@touch $(READY)

run: $(READY)  ## The main job: simulate, play three days, build as they come (TARGET=spark for Spark)
	@$(BIN)/pos demo --target $(TARGET)

test: $(READY)  ## All tests that CI runs; the Spark lane if there is Java, at the same time
	@# Two processes for two cores: Spark's, which then takes some folders, and one for the rest.
	@mkdir -p target; light="tests/faults tests/loaders tests/truth"; rest="not spark and not pages and not faults and not cluster"; \
	{ failed=0; $(BIN)/pytest -m "spark and not faults and not cluster" || failed=1; $(BIN)/pytest -m "$$rest" $$light || failed=1; \
	exit $$failed; } > target/spark_lane.log 2>&1 & spark=$$!; failed=0; \
	$(BIN)/pytest -m "$$rest" $$(printf -- '--ignore=%s ' $$light) || failed=1; \
	wait $$spark || failed=1; echo "Spark lane, $$light (target/spark_lane.log):"; \
	grep -vE '^(Picked up|WARNING|Using Spark|Setting|To adjust|[0-9/]+ [0-9:]+ WARN)' target/spark_lane.log || true; exit $$failed

test-truth: $(READY)  ## The proof at full size, hours: random worlds on both engines, batchings, the month, mutations
	@POS_TRUTH=all $(BIN)/pytest -v tests/truth tests/builds/test_acceptance.py tests/builds/test_ledger.py

# Two processes for two cores, as for `make test`: these files in the second one, whose words come when both are done.
# $(call in_two,marker,files)
define in_two
	@mkdir -p target; $(BIN)/pytest -v -m $(1) $(2) > target/$(1).log 2>&1 & second=$$!; failed=0; \
	$(BIN)/pytest -v -m $(1) $(addprefix --ignore=,$(2)) || failed=1; \
	wait $$second || failed=1; echo "$(2) (target/$(1).log):"; cat target/$(1).log; exit $$failed
endef

test-faults: $(READY)  ## What is broken on purpose: kills, full disks, two of everything; 20 minutes at most
	$(call in_two,faults,$(addprefix tests/faults/,test_crashes.py test_retention.py test_rollback.py test_trace.py))

test-pages: $(READY)  ## Docs site and inventory page in a browser, docs coverage, SQL clients
	@command -v chromium > /dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq chromium; } || \
		{ echo "Chromium is needed: apt-get install chromium (as root)"; exit 1; }
	@$(BIN)/pytest -v -m pages

test-cluster: $(READY)  ## Kafka, Structured Streaming, a Spark cluster, an object store; killed in the middle (needs Java), 30 minutes at most
	$(call in_two,cluster,$(addprefix tests/cluster/,test_contract.py test_object_store.py))

bench: $(READY) $(BENCH_READY)  ## All benchmarks, hours: ours, others', at three sizes; writes benchmarks/README.md
	@$(BIN)/python -m benchmarks full --environment $(BENCH_VENV) $(BENCH_OPTIONS)

bench-kafka: $(READY)  ## The real month through Kafka, at 10x and at full speed, into INTO=local or cluster; minutes
	@$(BIN)/python -m benchmarks.through_kafka --into $(INTO)

bench-quick: $(READY)  ## In ten minutes what fits of the targets; fails where one is missed
	@$(BIN)/python -m benchmarks quick $(BENCH_OPTIONS)

bench-stores: $(READY)  ## Many stores, hours: ticks against keys and lines; benchmarks/README.md, profiles/SIZES.md
	@$(BIN)/python -m benchmarks stores $(BENCH_OPTIONS)

# What the others need, apart from the project's own environment.
$(BENCH_READY): benchmarks/requirements.lock
	$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/bin/pip install --disable-pip-version-check --quiet --no-deps --require-hashes -r benchmarks/requirements.lock
	@$(BENCH_VENV)/bin/pip check
	@touch $(BENCH_READY)

up: $(READY)  ## Start the embedded engine
	@$(BIN)/pos up

down: $(READY)  ## Stop the embedded engine
	@$(BIN)/pos down

kafka-up: $(READY)  ## Start a Kafka broker on loopback (needs Java; 46 MB of jars once)
	@$(BIN)/pos kafka up

kafka-down: $(READY)  ## Stop it; its data stay
	@$(BIN)/pos kafka down

cluster-up: $(READY)  ## Start a Spark cluster on loopback: a master, two workers (needs Java)
	@$(BIN)/pos cluster up

cluster-down: $(READY)  ## Stop it
	@$(BIN)/pos cluster down

status: $(READY)  ## What runs, what is there, what waits
	@$(BIN)/pos status

soak: $(READY)  ## An hour at ten times the pace with all faults on: target/soak, charts and figures (SOAK_MINUTES)
	@$(BIN)/python -m benchmarks.soak --minutes $(SOAK_MINUTES)

lint: $(READY)  ## sqlfluff, ruff, mypy, dbt-bouncer, no secrets; no engine, no network
	@$(BIN)/sqlfluff lint --disable-progress-bar --processes 0 models snapshots tests macros
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --no-verify -p .ci/databricks_token.py --exclude-files '(requirements\.lock|\.svg|assets/vendor/.*|benchmarks/results/.*|seeds/.*)$$'
	@$(BIN)/dbt parse --quiet --target-path target/lint --log-path target/lint
	@$(BIN)/dbt-bouncer run --output-only-failures

format: $(READY)  ## Let ruff and sqlfluff put it right
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format
	@$(BIN)/sqlfluff fix --disable-progress-bar models snapshots tests

docs: $(READY)  ## Write the docs and lineage site and serve it (DOCS_SERVE=0: only write it; DOCS_PORT)
	@$(BIN)/python -m loaders.docs $(if $(filter 0,$(DOCS_SERVE)),--no-serve,--docs-port $(DOCS_PORT))

lock: $(READY)  ## Write requirements.lock anew from pyproject.toml
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links \
		--only-binary :all: --no-binary pyspark pyproject.toml --output-file requirements.lock

lock-bench: $(READY)  ## Write benchmarks/requirements.lock anew from requirements.in
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --no-emit-find-links \
		--only-binary :all: benchmarks/requirements.in --output-file benchmarks/requirements.lock

sbom: $(READY)  ## What it is made of, wheels and jars: target/sbom, CycloneDX and a list of licences
	@$(BIN)/python -m loaders.sbom

audit: $(READY)  ## Known vulnerabilities of what is pinned; needs the network, and says so without
	@$(BIN)/python -m loaders.audit

clean:  ## Remove what was built: lakehouse, landing, month, sample, page, target; the environment stays
	@if [ -x $(BIN)/pos ]; then $(BIN)/pos down; $(BIN)/pos kafka down; $(BIN)/pos cluster down; $(BIN)/pos s3 down; fi
	@if [ -d sample ]; then $(BIN)/pos down --lakehouse sample/lakehouse --port 50061; fi
	rm -rf lakehouse lakehouse_state landing month sample page target logs
