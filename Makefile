# Two commands are enough: `make demo` and `make test` install what is missing, build, and run.

SHELL := /bin/bash
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH

core_files := $(shell find core packaging -type f) CMakeLists.txt LICENSE NOTICE.md
python_files := $(shell find bindings/python python -type f -not -name '*.pyc') pyproject.toml README.md
node_files := $(shell find bindings/node -type f) node/build.cjs package.json

.PHONY: help build test demo lint format sanitize faults campaign soak properties mutants bench bench-quick docs clean
.DELETE_ON_ERROR:

help: ## List the targets.
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

build: build/.cpp build/.python build/.node ## Build the three clients, usable in place: .venv, this folder for npm, build/install.

test: build ## Run all tests.
	ctest --test-dir build/cmake --output-on-failure --parallel 4 --progress
	python -m pytest
	npm test --silent

demo: build build/.example ## Send 93,229 real purchases from all three clients into the sandbox, and read them back.
	python examples/demo.py

lint: .venv/.packages node_modules/.packages ## Check format, style and types.
	packaging/lint

format: .venv/.packages node_modules/.packages ## Format all sources.
	packaging/lint --fix

# The tests fork, and their children make clients of their own.
sanitize: export TSAN_OPTIONS = die_after_fork=0
sanitize: .venv/.packages build/.python ## Run the core's tests under ASan, UBSan and TSan, and send_many's under ASan and UBSan (ten minutes).
	for preset in asan tsan; do \
	  cmake --preset $$preset > /dev/null && cmake --build --preset $$preset -- --quiet && build/$$preset/tests/core/intilery_tests --gtest_brief=1 || exit 1; \
	done
	packaging/sanitized-python tests/python/test_send_many.py -k 'not 100_mb and not full_disk'

faults: build ## Kill a sending process 200 times in each language; everything accepted must arrive (two minutes).
	INTILERY_KILLS=200 build/cmake/tests/core/intilery_tests --gtest_brief=1 --gtest_filter='SpoolTest.*Kill*'
	INTILERY_KILLS=200 python -m pytest -q tests/python/test_spool.py -k kill
	INTILERY_KILLS=200 node --test --test-name-pattern=kill tests/node/spool.test.mjs

campaign: build ## 50,000 events from each language in each mode to a strict server with 20 % faults (seven minutes).
	python tests/campaign/run.py
	python tests/campaign/run.py --faults 0 --rate 100 --burst 500 --events 20000 --modes auto batch

soak: build ## 1,000 events a second from each language for ten minutes, with 20 % faults: memory must be flat.
	python tests/campaign/soak.py

properties: build ## The property tests with 20 times the examples, and 20,000 calls that the three languages must agree on (ten minutes).
	INTILERY_EXAMPLES=20 python -m pytest -q tests/python/test_properties.py
	INTILERY_EXAMPLES=20 node --test tests/node/properties.test.mjs
	for seed in $$(shuf -i 1-1000000 -n 10); do python tests/python/agreement.py --seed $$seed --cases 2000 || exit 1; done

mutants: build/.cpp build/.mutants ## Break the delivery rules in 80 ways, one at a time; the core's tests must notice (ten minutes and more).
	nice -n 10 python tests/mutants/mutants.py

bench: build/.bench ## Measure everything, other services' clients too, and write docs/performance.md (under twenty minutes).
	python bench/run.py

bench-quick: build/.bench ## The same, less exact, to the terminal (two minutes).
	python bench/run.py --quick

docs: build ## Build the documentation site, references and all; a broken link is an error.
	packaging/site/build

clean: ## Remove what was built; keep what was installed.
	rm -rf build dist

# What is missing is installed once; the file says when.

.venv/.packages: packaging/system-packages packaging/python-packages pyproject.toml
	packaging/system-packages
	packaging/python-packages
	@mkdir -p $(@D) && touch $@

node_modules/.packages: package.json | .venv/.packages
	npm install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error || { echo "npm could not install what package.json names (the lines above say which). Is the network there?" >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

# Each client, built where its users find it.

build/.cpp: .venv/.packages $(core_files) $(wildcard tests/core/*) $(wildcard tests/campaign/*.cpp)
	cmake --preset default > /dev/null
	cmake --build --preset default -- --quiet
	cmake --install build/cmake > /dev/null
	@mkdir -p $(@D) && touch $@

build/.example: build/.cpp $(wildcard examples/cpp/*)
	cmake -S examples/cpp -B build/example -G Ninja -DCMAKE_PREFIX_PATH=$(CURDIR)/build/install -DCMAKE_BUILD_TYPE=Release > /dev/null
	cmake --build build/example -- --quiet
	@mkdir -p $(@D) && touch $@

build/.python: .venv/.packages $(core_files) $(python_files)
	python -m pip install --disable-pip-version-check -q --no-build-isolation --no-deps --force-reinstall .
	@mkdir -p $(@D) && touch $@

build/.node: .venv/.packages node_modules/.packages $(core_files) $(node_files)
	npm run --silent build
	@mkdir -p $(@D) && touch $@

build/.bench: build/.cpp build/.python build/.node build/.bench-packages $(wildcard bench/cpp/*)
	cmake --preset bench > /dev/null
	cmake --build --preset bench -- --quiet
	@mkdir -p $(@D) && touch $@

build/.mutants: .venv/.packages $(wildcard core/src/delivery/*.cpp core/src/queue/lanes.cpp)
	python -m pip install --disable-pip-version-check -q --group mutants
	@rm -rf build/mutants && touch $@

build/.bench-packages: .venv/.packages packaging/system-packages bench/peers/versions.json
	packaging/system-packages bench
	python -m pip install --disable-pip-version-check -q --group bench
	python bench/peers/compare.py --install
	@mkdir -p $(@D) && touch $@
