# What one does daily. `make demo` and `make test` need nothing but a Swift 6.3 toolchain on Debian or Ubuntu.

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
PYTHON ?= python3
VENV := .build-e2e
# Where the scripts find moto, rclone and PyTorch.
export BECALM_E2E_VENV := $(CURDIR)/$(VENV)
RELEASE := .build/release/becalm
PLUGIN := .build-static/velero-plugin-becalm
DEBUG := .build/debug/becalm

# What `make static` builds.
PRODUCT ?= velero-plugin-becalm

.PHONY: help build release plugin static test unit e2e demo bench format lint install deps servers soak clean

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

build: deps ## a debug build
	$(SWIFT) build

release: deps ## an optimised build: .build/release/becalm
	$(SWIFT) build -c release --product becalm

plugin: deps ## Velero's plugin as it is shipped, one static executable: .build-static/velero-plugin-becalm
	SWIFT=$(SWIFT) plugin/build

static: deps ## one executable without libraries: .build-static/PRODUCT, PRODUCT=becalm or velero-plugin-becalm
	SWIFT=$(SWIFT) plugin/build $(PRODUCT)

test: unit e2e ## everything that needs no cluster: unit tests, then the quick end-to-end runs

# By the product of the tests: everything would be gRPC, too, which no test needs, and twice the time. Hundreds of tests at
# once starve each other on two cores until those with a time limit fail.
unit: deps ## the tests inside the package
	$(SWIFT) build --product becalmPackageTests
	$(SWIFT) test --skip-build --experimental-maximum-parallelization-width 8 --skip '\.PreconditionTests' $(TEST_OPTIONS)
	$(SWIFT) test --skip-build --filter '\.PreconditionTests'

e2e: release plugin servers ## the quick end-to-end runs against real servers
	@e2e/install-packages go
	BECALM=$(CURDIR)/$(RELEASE) BECALM_PLUGIN=$(CURDIR)/$(PLUGIN) $(PYTHON) e2e/run.py quick

demo: release ## back up a training run, damage it, restore it, prove it
	@bash e2e/demo.sh $(RELEASE)

bench: release ## a table beside restic and borg; see Tests/Benchmarks/README.md
	@e2e/install-packages borg
	BECALM=$(CURDIR)/$(RELEASE) $(PYTHON) Tests/Benchmarks/bench.py $(ARGUMENTS)

soak: release plugin servers ## the full end-to-end runs: hours
	@e2e/install-packages go
	e2e/radosgw fetch
	BECALM=$(CURDIR)/$(RELEASE) BECALM_PLUGIN=$(CURDIR)/$(PLUGIN) $(PYTHON) e2e/run.py full

format: ## lay the sources out
	$(SWIFT) format --in-place --recursive Package.swift Sources Tests

lint: ## fail on what `make format` would change, and on what the format's rules forbid
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests

install: release ## install under PREFIX, with completions and the man page
	install -D -m 755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/becalm
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(RELEASE) --generate-completion-script bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/becalm
	$(RELEASE) --generate-completion-script zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_becalm
	$(RELEASE) --generate-completion-script fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/becalm.fish
	mkdir -p $(DESTDIR)$(PREFIX)/share/man/man1
	$(RELEASE) man >$(DESTDIR)$(PREFIX)/share/man/man1/becalm.1

deps: ## install the system packages that are missing, with apt
	@e2e/install-packages

servers: ## moto, rclone, grpcio and PyTorch for the end-to-end runs, in a virtual environment
	@$(PYTHON) e2e/servers.py install --if-missing $(VENV)

clean: ## remove what was built
	rm -rf .build .build-static .build-velero-host .build-protoc $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
