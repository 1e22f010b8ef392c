# Everything that is done with a checkout: make help lists it. The Node.js that npm brought comes first on PATH, the folders of the
# network tools last, as they are not on everybody's.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

arch := $(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))
export PATH := $(CURDIR)/node_modules/node-linux-$(arch)/bin:$(CURDIR)/node_modules/.bin:$(PATH):/usr/sbin:/sbin

tools := perl=perl-base iptables=iptables nft=nftables ipset=ipset ipvsadm=ipvsadm ip=iproute2 conntrack=conntrack ps=procps
# What the lab with a kernel of its own needs: its test is skipped without them.
optional := linux.uml=user-mode-linux modprobe=kmod
tap := .tap/run.tap
npm_options := --ignore-scripts --no-audit --no-fund --loglevel=error
TESTS ?=

.PHONY: help deps demo test bench fuzz fuzz-kernel lint build clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 15

deps: node_modules/.package-lock.json .tap/plugins ## install packages of npm and, as root on Debian, the tools that agent and tests call
	@missing=(); for pair in $(tools); do command -v "$${pair%%=*}" >/dev/null || missing+=("$${pair#*=}"); done; \
	if [ "$${#missing[@]}" -gt 0 ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null \
	      || echo "make deps: apt-get could not install $${missing[*]}; tests that need them are skipped." >&2; \
	  else echo "make deps: not installed: $${missing[*]}. Install them as root (apt-get install $${missing[*]}); until then tests that need them are skipped." >&2; fi; \
	fi
	@missing=(); for pair in $(optional); do command -v "$${pair%%=*}" >/dev/null || missing+=("$${pair#*=}"); done; \
	if [ "$${#missing[@]}" -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"; } >/dev/null 2>&1 \
	    || echo "make deps: apt-get could not install $${missing[*]}; the test of IPVS in a kernel of its own is skipped." >&2; \
	fi

node_modules/.package-lock.json: package-lock.json
	@npm ci $(npm_options) 2>/dev/null || { echo 'make deps: npm ci refuses this package-lock.json here; npm install keeps to it as far as it goes' >&2; npm install --no-save $(npm_options); }
	@touch $@

.tap/plugins: node_modules/.package-lock.json
	@tap build >/dev/null
	@touch $@

demo: deps ## build a cluster of network namespaces, break it in three ways, and show what Portreeve says
	@node --disable-warning=ExperimentalWarning test/labs/demo.ts

test: deps ## run the tests (TESTS="test/x.test.ts …" for some of them)
	@mkdir -p .tap; rm -f $(tap); status=0; tap run --reporter=silent --output-file=$(tap) $(TESTS) </dev/null || status=$$?; \
	touch $(tap); node test/support/tally.ts $(tap); exit $$status

bench: deps ## run the benchmarks
	@shopt -s nullglob; for file in test/bench/*.bench.ts; do node --disable-warning=ExperimentalWarning "$$file"; done

fuzz: deps ## mutate real dumps and feed them to every parser (N=1000000 SEED=1 WORKERS=2)
	@nice node --disable-warning=ExperimentalWarning test/fuzz/parsers.ts

fuzz-kernel: deps ## judge the walk of N random rulesets by the kernel, as root (N=300 SEED=random)
	@RULESETS=$(or $(N),300) node --disable-warning=ExperimentalWarning test/labs/kernel/kernel.test.ts

lint: deps ## check format, house rules and types
	@biome check .
	@tsc --noEmit

build: deps ## check the types: the sources run as they are, so there is nothing else to build
	@tsc --noEmit

clean: ## remove what make made, but for node_modules
	@rm -rf .tap coverage dist
