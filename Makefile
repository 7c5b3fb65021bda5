# Everything a newcomer types. `make run` and `make test` install what they need first, into .venv.
PYTHON ?= python3
BIN := .venv/bin
# Half of the tests' time is waiting, so five workers fill two processors; the pure tests of `make quick` never wait.
# tests/conftest.py puts the longest files first.
TESTS := --numprocesses 5 --dist loadfile --no-loadscope-reorder
EXTRAS := duckdb pyarrow httpx fastavro protobuf grpcio-tools pyinstrument opentelemetry-sdk opentelemetry-exporter-otlp-proto-http
# The oldest Kafka that runs on Java 17, the oldest without ZooKeeper, the one of all other tests, and the newest.
KAFKA_VERSIONS ?= 2.4.1 3.3.2 4.1.0 4.4.0
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate

# The tests start hundreds of processes, and each one starts a third faster with compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install extras ray run start cluster consumer ingest quick test long generated check kafka-versions lint lint-js bench chaos pictures docs lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/' | expand -t 22

install: .venv/run  ## make .venv with the pinned packages

.venv/run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Firnline needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 run") if sys.version_info < (3, 11) else None'
	@echo "installing into .venv (once; about twenty seconds)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/firnline.pth"
	@printf '#!/bin/sh\nexec "%s/.venv/bin/python" -m scripts.cli "$$@"\n' "$(CURDIR)" > $(BIN)/firnline && chmod +x $(BIN)/firnline
	@touch $@

# Only names and versions, because hashes would be needed for each package that these need.
extras: install  ## what is optional, in the pinned versions: SQL, Arrow, asyncio, Avro, Protobuf, traces
	@sed -n 's/^\([A-Za-z0-9._-]*==[^ ;]*\).*/\1/p' requirements-dev.txt > .venv/pins.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .venv/pins.txt $(EXTRAS)

ray: .venv/ray/made  ## Ray in .venv/ray, an environment that sees .venv too, for `firnline cluster up --on ray`

.venv/ray/made: .venv/run requirements-ray.txt
	@echo "installing Ray into .venv/ray (once; 80 MB)"
	@$(BIN)/python -m venv .venv/ray
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
	  > "$$(.venv/ray/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/libraries.pth"
	@.venv/ray/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-ray.txt
	@touch $@

.venv/dev: .venv/run requirements-dev.txt
	@echo "installing what the tests need (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

run: install  ## broker, service and a gentle producer, with the curls to try
	@exec $(BIN)/python scripts/serve.py --demo

start:  ## broker, topics and service in containers, on loopback (needs Docker)
	docker compose up --detach

cluster: install  ## three processes of one cluster and a gentle producer; needs a broker at port 9092, see deploy/cluster/three.yaml
	@exec $(BIN)/python scripts/serve.py --config deploy/cluster/three.yaml --cluster local:3 --demo $(ARGS)

consumer: install  ## the service alone; settings in ARGS, as in make consumer ARGS='--config config/top.yaml'
	@exec $(BIN)/python scripts/serve.py $(ARGS)

ingest: install  ## send records; a pattern, a count and a broker in ARGS, as in make ingest ARGS='--count 1000'
	@exec $(BIN)/python scripts/producer.py $(ARGS)

test: .venv/dev  ## the tests without the long runs, four files at a time
	$(BIN)/python -m pytest $(TESTS) --hypothesis-profile check -m "not long"

long: .venv/dev  ## the long runs: chaos, moving leaders, losses of a cluster, the wheel, and the other reader
	$(BIN)/python -m pytest --numprocesses 4 --dist loadgroup -m long
	FIRNLINE_TEST_READER=messages $(BIN)/python -m pytest --quiet $(TESTS) tests/kafka -m versions

generated: .venv/dev  ## the generated tests in full, and 280 more simulated worlds
	$(BIN)/python -m pytest --quiet --numprocesses 4 --dist loadfile -m "hypothesis and not long"
	$(BIN)/python -m pytest --quiet --numprocesses auto --maxprocesses 4 tests/simulation/test_simulation.py --first-seed 20 --seeds 180
	$(BIN)/python -m pytest --quiet --numprocesses auto --maxprocesses 4 tests/simulation/test_cluster_worlds.py --first-seed 20 --seeds 400

lint: .venv/dev lint-js  ## ruff and mypy, and biome for the page's JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# package.json pins biome. Without npm this step is skipped, unless FIRNLINE_REQUIRE_JS is set.
lint-js:
	@if command -v npm > /dev/null; then \
	  [ node_modules/.package-lock.json -nt package.json ] \
	    || npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts; \
	  node_modules/.bin/biome check --error-on-warnings; \
	elif [ -n "$$FIRNLINE_REQUIRE_JS" ]; then echo "lint-js: npm is missing" >&2; exit 1; \
	else echo "lint-js: skipped, because npm is missing"; fi

quick: lint  ## lint, types and the pure tests: less than a minute
	$(BIN)/python -m pytest --quiet $(TESTS) --numprocesses auto --maxprocesses 4 --hypothesis-profile quick \
	  tests/house tests/columns tests/timeline tests/views

check: lint test  ## lint, types and the tests; CI also runs `make long`

# A failure does not keep the next versions from being tried.
kafka-versions: .venv/dev  ## tests/kafka with each of KAFKA_VERSIONS, and without auto-create; the short ones by ARGS='-m versions'
	@failed=; for version in $(KAFKA_VERSIONS); do \
	  echo "Kafka $$version:"; \
	  FIRNLINE_KAFKA=$$version $(BIN)/python -m pytest --quiet $(TESTS) tests/kafka $(ARGS) || failed="$$failed $$version"; \
	done; \
	echo "Kafka with auto.create.topics.enable=false:"; \
	FIRNLINE_TEST_NO_AUTO_CREATE=1 $(BIN)/python -m pytest --quiet $(TESTS) tests/kafka $(ARGS) || failed="$$failed auto-create"; \
	[ -z "$$failed" ] || { echo "failed with:$$failed" >&2; exit 1; }

bench: .venv/dev  ## the table of docs/benchmarks.md (needs Java and Maven, or --bootstrap)
	$(BIN)/python scripts/bench.py

chaos: .venv/dev  ## twenty kills, stops and cuts under load, every answer compared (needs Java and Maven)
	$(BIN)/python scripts/chaos.py

pictures: .venv/dev  ## the pictures of the live page in docs/pictures (needs Chromium)
	$(BIN)/python scripts/lab/measure/pictures.py

docs: .venv/dev  ## the documentation as a site with search, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "to read it: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site 8000"

lock: .venv/dev  ## pin every package with its hashes
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile $(LOCK) --extra server pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile $(LOCK) --extra server --group dev pyproject.toml --output-file requirements-dev.txt
	$(BIN)/uv pip compile $(LOCK) --no-config --constraint requirements.txt --extra ray pyproject.toml --output-file requirements-ray.txt

clean:  ## remove .venv, every cache, and .firnline with its checkpoints
	rm -rf .venv node_modules .firnline .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis build site ./*.egg-info
