# `make` lists the targets.  Everything is installed into .venv, with Python 3.11 or later and nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help run test test-pure test-servers torture asan fuzz check lint types bench nats-server nats-clients kafka-clients ferretdb clean

help:
	@echo "make run      install into $(VENV) and start a broker on loopback"
	@echo "make test     install what tests need, and run them all"
	@echo "make test-servers  with real databases, NATS clients and nats-server; as root, install those first"
	@echo "make test-pure  the tests of the message path once more, without the compiled modules"
	@echo "make asan     the same with compiled modules that end the process at a byte out of bounds; needs gcc"
	@echo "make fuzz     have a fuzzer try RUNS inputs on the compiled modules; needs clang (CLANG=...)"
	@echo "make torture  kill registry and log ROUNDS times while they are written to, and see that nothing is lost"
	@echo "make check    lint and types"
	@echo "make bench    measure, beside nats-server and hpfeeds-broker where they are installed"
	@echo "make nats-server  build the real one with Go, for tests and bench to compare with"
	@echo "make nats-clients  build NATS clients with Go and npm, for make test-servers"
	@echo "make kafka-clients  install Confluent's client for Node with npm, for make test-servers"
	@echo "make ferretdb  build a server for users in MongoDB with Go, for make test-servers"
	@echo "make clean    remove $(VENV) and what was built"

COMPILED := $(wildcard brokerkit/*.pyx brokerkit/*.pxd brokerkit/protocols/*/*.pyx) \
	$(addprefix brokerkit/,stamp.py fields.py pile.py trie.py)
$(VENV)/installed: setup.cfg setup.py pyproject.toml $(COMPILED)
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("brokerkit needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable '.[test]'
	touch $@

$(VENV)/installed-lint: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable '.[test,lint]'
	touch $@

run: $(VENV)/installed
	@$(BIN)/brokerkit run $(ARGS)

JOBS ?= auto
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# What the message path does, from the bytes that come in to those that go out: in pure Python, too.
HEART := tests/test_run.py tests/test_route.py tests/test_router.py tests/test_trie.py tests/test_deliver.py \
	tests/test_outbox.py tests/test_turn.py tests/test_client.py tests/test_reading.py tests/test_pacing.py \
	tests/test_mapping.py tests/test_crossings.py tests/test_tenants.py tests/test_reserved.py tests/test_tally.py \
	tests/test_reentrance.py tests/test_websocket.py tests/test_departure.py tests/contract tests/keeping tests/test_bodies.py \
	tests/protocols/nats tests/protocols/hpfeeds
test-pure: $(VENV)/installed-test
	BROKERKIT_PURE=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(HEART) $(ARGS)

# A copy of the package with modules of its own.  The interpreter has no sanitizer: it is loaded before it.  What Python
# itself never frees is no leak, and pools of Python's would hide what is out of bounds.
ASAN := $(abspath $(VENV))/asan
SANITIZED := ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc
asan: $(VENV)/installed-test
	CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address" LDFLAGS=-fsanitize=address \
		$(BIN)/python setup.py --quiet build --build-lib $(ASAN) --build-temp $(ASAN)/temp
	$(SANITIZED) BROKERKIT_COMPILED=required BROKERKIT_EXAMPLES=$${BROKERKIT_EXAMPLES:-100} PYTHONPATH=$(ASAN) \
		LD_PRELOAD=$$(gcc -print-file-name=libasan.so) $(BIN)/python -m pytest --override-ini "pythonpath=$(ASAN) ." \
		$(HEART) tests/variants tests/fuzz $(ARGS)

# Each target tries its share of RUNS inputs; what is interesting is kept in .venv/fuzz for the next time, and held against
# the pure code in the end.  A crash is written beside it: copied into tests/fuzz/corpus it is a test.
RUNS ?= 10000000
FUZZ := $(abspath $(VENV))/fuzz
CLANG ?= $(firstword $(notdir $(wildcard /usr/bin/clang /usr/bin/clang-[0-9] /usr/bin/clang-[0-9][0-9])) clang)
FUZZING = cd $(FUZZ) && $(SANITIZED) PYTHONPATH=$(FUZZ)/lib LD_PRELOAD=$$($(abspath $(BIN))/python -c \
	'import atheris; print(atheris.path())')/asan_with_fuzzer.so nice $(abspath $(BIN))/python $(CURDIR)/tests/fuzz
fuzz: $(VENV)/installed-test
	@command -v $(CLANG) > /dev/null || { echo "make fuzz needs clang: apt-get install clang, or CLANG=..."; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	mkdir -p $(FUZZ)/nats $(FUZZ)/hpfeeds $(FUZZ)/deliver
	CC=$(CLANG) LDSHARED="$(CLANG) -shared" CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=address,fuzzer-no-link" \
		$(BIN)/python setup.py --quiet build --build-lib $(FUZZ)/lib --build-temp $(FUZZ)/temp
	$(FUZZING) scan-nats -runs=$$(($(RUNS) / 2)) -max_len=700 nats $(CURDIR)/tests/fuzz/corpus/nats
	$(FUZZING) scan-hpfeeds -runs=$$(($(RUNS) / 4)) -max_len=700 hpfeeds $(CURDIR)/tests/fuzz/corpus/hpfeeds
	$(FUZZING) walk -runs=$$(($(RUNS) / 4)) -max_len=700 deliver $(CURDIR)/tests/fuzz/corpus/deliver
	for target in nats hpfeeds deliver; do \
		$(FUZZING) $$target -runs=0 $$target $(CURDIR)/tests/fuzz/corpus/$$target || exit 1; done

# As root it installs the databases, and nothing may be missing; else it uses what there is, and skips the rest.
test-servers: $(VENV)/installed-test
	@if [ "$$(id -u)" = 0 ]; then .ci/servers; fi
	@if command -v go > /dev/null; then $(MAKE) --no-print-directory ferretdb || true; fi
	@if [ -z "$$NATS_SERVER" ] && command -v go > /dev/null; then $(MAKE) --no-print-directory nats-server || true; fi
	@$(MAKE) --no-print-directory nats-clients || true
	@$(MAKE) --no-print-directory kafka-clients || true
	@if [ "$$(id -u)" = 0 ]; then export BROKERKIT_SERVERS=required; fi; $(BIN)/python -m pytest tests/servers $(ARGS)

ROUNDS ?= 500
torture: $(VENV)/installed-test
	BROKERKIT_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest tests/servers/test_registry_kill.py tests/servers/test_log_kill.py $(ARGS)

check: lint types

lint: $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-lint
	$(BIN)/mypy

bench: $(VENV)/installed-test
	$(BIN)/python -m bench $(ARGS)

# The real one, to compare with in tests and to measure beside; needs the Go toolchain.
nats-server: $(VENV)/installed
	GOBIN=$(abspath $(BIN)) go install github.com/nats-io/nats-server/v2@latest

# Clients that others wrote, with what the tests have them do: in Go, and in JavaScript for Node and for a page.
CLIENTS := $(abspath $(VENV))/nats-clients
SOURCES := tests/servers/nats_clients
PACKAGES := $(CLIENTS)/node_modules/.package-lock.json
nats-clients: $(if $(shell command -v go),$(CLIENTS)/go-client)
nats-clients: $(if $(shell command -v npm),$(CLIENTS)/node.cjs $(CLIENTS)/page.js)

$(CLIENTS)/go-client: $(wildcard $(SOURCES)/go/*) | $(VENV)/installed
	cd $(SOURCES)/go && go build -buildvcs=false -o $@ .

$(PACKAGES): $(SOURCES)/javascript/package.json $(SOURCES)/javascript/package-lock.json | $(VENV)/installed
	mkdir -p $(CLIENTS)
	cp $^ $(CLIENTS)
	cd $(CLIENTS) && npm ci --silent --no-fund --no-audit --ignore-scripts

BUNDLE = NODE_PATH=$(CLIENTS)/node_modules $(CLIENTS)/node_modules/.bin/esbuild $< --bundle --log-level=warning --outfile=$@
$(CLIENTS)/node.cjs: $(SOURCES)/javascript/node.mjs $(SOURCES)/javascript/behaviours.mjs $(PACKAGES)
	$(BUNDLE) --platform=node --format=cjs

$(CLIENTS)/page.js: $(SOURCES)/javascript/page.mjs $(SOURCES)/javascript/behaviours.mjs $(PACKAGES)
	$(BUNDLE) --format=esm

# Confluent's client for kept topics over HTTP, as it is in npm, with what the tests have it do.
KAFKA_CLIENTS := $(abspath $(VENV))/kafka-clients
KAFKA_SOURCES := tests/servers/kafka_clients
kafka-clients: $(if $(shell command -v npm),$(KAFKA_CLIENTS)/client.cjs)

$(KAFKA_CLIENTS)/client.cjs: $(wildcard $(KAFKA_SOURCES)/*.cjs $(KAFKA_SOURCES)/*.json) | $(VENV)/installed
	mkdir -p $(KAFKA_CLIENTS)
	cp $(KAFKA_SOURCES)/package.json $(KAFKA_SOURCES)/package-lock.json $(KAFKA_CLIENTS)
	cd $(KAFKA_CLIENTS) && npm ci --silent --no-fund --no-audit --ignore-scripts
	cp $(KAFKA_SOURCES)/client.cjs $@

# It speaks MongoDB's protocol and needs no other database.  It is built from a copy of its source, since it wants a file
# there that says which version it is.
FERRETDB := v1.24.0
ferretdb: $(BIN)/ferretdb

$(BIN)/ferretdb: | $(VENV)/installed
	rm -rf $(VENV)/ferretdb
	source=$$(cd / && go mod download -json github.com/FerretDB/FerretDB@$(FERRETDB) | sed -n 's/.*"Dir": "\(.*\)",/\1/p') && cp -R "$$source" $(VENV)/ferretdb
	chmod -R u+w $(VENV)/ferretdb
	echo $(FERRETDB) > $(VENV)/ferretdb/build/version/version.txt
	cd $(VENV)/ferretdb && go build -buildvcs=false -tags ferretdb_no_postgresql -o $(abspath $@) ./cmd/ferretdb
	rm -rf $(VENV)/ferretdb

clean:
	rm -rf $(VENV) build dist *.egg-info twisted/plugins/dropin.cache
	find brokerkit -name '*.so' -delete
