SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.ONESHELL:

VENV := .venv
NEXT := .venv-next
TARGET := .venv-target
BIN := $(VENV)/bin
LAB := $(BIN)/python -m lab
LAB_NAME ?= lab
export LAB_NAME
INVENTORY := build/lab/$(LAB_NAME)/inventory.yml
STANDIN := build/standin/evnode-standin
N ?= 5
# A Go toolchain from PATH, else the one that requirements-go.txt puts into the virtual environment.
export PATH := $(PATH):$(CURDIR)/$(BIN)

# One way to compile, so that vet, tests, stand-in and execution client share what the compiler has made. Nobody debugs
# them, and memory for the compiler is cheaper than its time.
export CGO_ENABLED := 0
GOFLAGS += -trimpath -buildvcs=false -gcflags=all=-dwarf=false
export GOFLAGS
GO := GOGC=400 go

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: tools
tools: ## install the Debian packages that the lab machine lacks
	@.ci/tools

.PHONY: venv
venv: $(VENV)/.ready $(NEXT)/.ready ## the virtual environments: ansible-core 2.19 and, with a newer Python, 2.21

$(VENV)/.ready: requirements.txt requirements-test.txt requirements-lint.txt requirements-go.txt
	@.ci/tools
	python=$$(.ci/find-python 3.11 3.12 3.13) || { echo "needs Python 3.11, 3.12 or 3.13" >&2; exit 1; }
	"$$python" -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements.txt -r requirements-test.txt -r requirements-lint.txt
	command -v go >/dev/null || $(BIN)/pip install --quiet -r requirements-go.txt
	touch $@

$(NEXT)/.ready: requirements-next.txt
	@.ci/tools
	if python=$$(.ci/find-python 3.13 3.12); then
	    "$$python" -m venv $(NEXT)
	    $(NEXT)/bin/pip install --quiet -r requirements-next.txt
	else
	    echo "no Python 3.12 or 3.13 here: nothing runs under ansible-core 2.21"
	    mkdir -p $(NEXT)
	fi
	touch $@

# The oldest Python that a member may have, if this machine has one.
$(TARGET)/.ready: requirements-target.txt
	if python=$$(.ci/find-python 3.9 3.10); then
	    "$$python" -m venv $(TARGET)
	    $(TARGET)/bin/pip install --quiet -r requirements-target.txt
	else
	    echo "no Python 3.9 or 3.10 here: what runs on members is tested under newer ones only"
	    mkdir -p $(TARGET)
	fi
	touch $@

.PHONY: standin
standin: $(VENV)/.ready ## build the stand-in node
	mkdir -p build/standin
	cd lab/standin
	$(GO) build -o ../../$(STANDIN) .

.PHONY: geth
geth: $(VENV)/.ready ## build the execution client for LAB_EXECUTION=geth, a module of the Go module proxy
	mkdir -p build/geth
	cd lab/execution/geth
	$(GO) build -ldflags='-s -w' -o ../../../build/geth/geth github.com/ethereum/go-ethereum/cmd/geth

.PHONY: try-geth
try-geth:
	$(NICE) $(MAKE) geth || echo "make geth: FAILED, so no EVM chain will be tested"

.PHONY: lab
lab: $(VENV)/.ready ## five hosts, no chain
	$(LAB) up

.PHONY: lab-down
lab-down: $(VENV)/.ready ## take the hosts away
	$(LAB) down

.PHONY: chain
chain: standin ## five hosts and a chain with one sequencer on the first
	$(LAB) chain-up

.PHONY: demo
demo: standin ## all of it: hosts, chain, migration; leaves the result up to look at
	$(LAB) down
	$(LAB) chain-up
	$(BIN)/ansible-playbook migrate.yml -i $(INVENTORY)
	$(BIN)/ansible-playbook migrate.yml -i $(INVENTORY) --tags status
	echo
	echo "The lab is still up. Look inside:   $(LAB) shell node-1"
	echo "Members and heights:                $(BIN)/ansible-playbook migrate.yml -i $(INVENTORY) --tags status"
	echo "Cut the power of a member:          $(LAB) power-cut node-1"
	echo "Take it all down:                   make lab-down"

# Parts that do not know of each other, two at a time; what each says stays together.
TOGETHER := --jobs=2 --output-sync=target
LINTERS := sanity lint-ansible lint-types lint-style lint-shell lint-go

.PHONY: lint
lint: $(VENV)/.ready ## every linter
	$(NICE) $(MAKE) $(TOGETHER) $(LINTERS)

.PHONY: lint-style
lint-style:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/yamllint --strict .
	$(BIN)/antsibull-changelog lint

.PHONY: lint-types
lint-types:
	$(BIN)/mypy -p lab
	$(BIN)/mypy -p ansible_collections.evnode.sequencer_ha.plugins

.PHONY: lint-ansible
lint-ansible:
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint --strict

.PHONY: lint-shell
lint-shell:
	git ls-files -z --cached --others --exclude-standard -- .ci 'lab/*.sh' | xargs -0 shellcheck

.PHONY: lint-go
lint-go:
	cd lab/standin
	unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .)
	if [ -n "$$unformatted" ]; then echo "not gofmt'ed: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...

.PHONY: sanity
sanity: $(VENV)/.ready ## ansible-test sanity on a copy of the tree
	.ci/sanity $(CURDIR)/$(BIN)/python

UNITS := unit-controller unit-next model unit-target unit-integration unit-standin
PYTEST := -m pytest -q -p no:cacheprovider

.PHONY: unit
unit: export PYTHONDONTWRITEBYTECODE := 1
unit: $(VENV)/.ready $(NEXT)/.ready $(TARGET)/.ready ## unit tests under every Python and ansible-core at hand, and the model
	$(NICE) $(MAKE) $(TOGETHER) $(UNITS)

.PHONY: unit-controller
unit-controller:
	echo "--- $$($(BIN)/python --version), ansible-core $$($(BIN)/python -c 'import ansible.release as r; print(r.__version__)')"
	$(BIN)/python $(PYTEST)

.PHONY: unit-next
unit-next:
	if [ -x $(NEXT)/bin/python ]; then
	    echo "--- $$($(NEXT)/bin/python --version), ansible-core $$($(NEXT)/bin/python -c 'import ansible.release as r; print(r.__version__)')"
	    $(NEXT)/bin/python $(PYTEST) $(addprefix tests/unit/,plugins/action plugins/filter plugins/modules plugins/plugin_utils roles)
	fi

.PHONY: unit-target
unit-target:
	if [ -x $(TARGET)/bin/python ]; then
	    echo "--- $$($(TARGET)/bin/python --version), what runs on members"
	    $(TARGET)/bin/python $(PYTEST) tests/unit/plugins/module_utils
	fi

.PHONY: unit-integration
unit-integration:
	if [ -x /usr/sbin/sshd ] && [ "$$(id -u)" = 0 ]; then
	    $(BIN)/python $(PYTEST) tests/integration
	else
	    echo "no sshd, or not root: the one-time ssh server is tested in the lab only"
	fi

.PHONY: unit-standin
unit-standin:
	cd lab/standin
	$(GO) test ./...

.PHONY: model
model: $(VENV)/.ready ## search every schedule of window and rollback: five members, two faults
	PYTHONPATH=collections $(BIN)/python -m lab.model

.PHONY: conformance
conformance: standin ## the node's behaviour, of the stand-in or of EVNODE_BINARY
	$(BIN)/python $(PYTEST) lab/conformance --durations=10

.PHONY: scenarios
scenarios: standin ## the Molecule scenarios in a lab; S="NAME ..." for some of them
	$(BIN)/python -m lab.scenarios $(S)

.PHONY: test
test: ## everything: lint, unit tests, model, conformance, scenarios
	begin=$$(date +%s)
	# The conformance suite waits most of the time, and has real clocks in it: the others leave it the CPU.
	$(MAKE) --jobs=4 --output-sync=target NICE='nice -n 10' lint unit conformance try-geth || { echo "make test: FAILED"; exit 1; }
	echo "=== lint, unit tests and conformance passed in $$(($$(date +%s) - begin)) s"
	from=$$(date +%s)
	$(MAKE) scenarios || { echo "make test: FAILED in scenarios"; exit 1; }
	echo "=== scenarios passed in $$(($$(date +%s) - from)) s"
	echo "make test: passed in $$(($$(date +%s) - begin)) s"

# Not in the lab that `make lab` and `make demo` leave up, because every run takes its lab down.
.PHONY: bench
bench: standin ## N migrations in a lab of its own, measured; N=20 [EVNODE_BINARY=… DA_COMMAND=…]
	LAB_NAME=$(if $(filter file,$(origin LAB_NAME)),bench,$(LAB_NAME)) $(BIN)/python -m lab.bench --runs $(N)

.PHONY: chaos
chaos: standin ## runs in which something dies; N=150 SEED=0 LABS=2 [EVNODE_BINARY=… DA_COMMAND=…]
	LAB_NAME=$(if $(filter file,$(origin LAB_NAME)),chaos,$(LAB_NAME)) $(BIN)/python -m lab.chaos $(if $(filter file,$(origin N)),,--cases $(N))

.PHONY: trips
trips: standin ## N times to the cluster and back, on one chain; N=10 [EVNODE_BINARY=… DA_COMMAND=…]
	LAB_NAME=$(if $(filter file,$(origin LAB_NAME)),trips,$(LAB_NAME)) $(BIN)/python -m lab.chaos.trips $(if $(filter file,$(origin N)),,--trips $(N))

.PHONY: preflight-matrix
preflight-matrix: standin ## faults planted one at a time, and exactly what preflight says of each; S="WORDS ..." for some
	LAB_NAME=$(if $(filter file,$(origin LAB_NAME)),matrix,$(LAB_NAME)) $(BIN)/python -m lab.matrix $(S)

.PHONY: clean
clean: ## remove what was built; the lab is taken down, the cached host image stays
	if [ -x $(BIN)/python ]; then $(LAB) down; fi
	rm -rf build $(VENV) $(NEXT) $(TARGET)
