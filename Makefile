# Everything that is done with a checkout: make help lists it. The Node.js that npm brought comes first on PATH, the folders of the
# network tools last, as they are not on everybody's.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

arch := $(subst aarch64,arm64,$(subst x86_64,x64,$(shell uname -m)))
export PATH := $(CURDIR)/node_modules/node-linux-$(arch)/bin:$(CURDIR)/node_modules/.bin:$(PATH):/usr/sbin:/sbin

tools := perl=perl-base iptables=iptables nft=nftables ipset=ipset ipvsadm=ipvsadm ip=iproute2 conntrack=conntrack ps=procps openssl=openssl
# What the labs with a kernel of its own and with firewall managers, the store in PostgreSQL, the page and tests of single sources need: they are skipped without them.
optional := linux.uml=user-mode-linux modprobe=kmod ethtool=ethtool pg_ctlcluster=postgresql strace=strace chromium=chromium zsh=zsh fish=fish man=man-db groff=groff
# What packages are checked and made with: Debian's own check, the template engine of Helm, root file systems of images, executables for arm64.
optional += lintian=lintian /usr/lib/go-1.19/bin/go=golang-1.19-go /usr/share/gocode/src/github.com/Masterminds/sprig=golang-github-masterminds-sprig-dev
optional += /usr/share/gocode/src/sigs.k8s.io/yaml=golang-k8s-sigs-yaml-dev mmdebstrap=mmdebstrap setcap=libcap2-bin
optional += aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h=libc6-dev-arm64-cross qemu-aarch64-static=qemu-user-static
# Debian starts firewalld when it is installed, which flushes the rules of the machine, and Prometheus and its Alertmanager, which listen: only where no systemd would do so.
optional += $(if $(wildcard /run/systemd/system),,ufw=ufw firewalld=firewalld dbus-daemon=dbus promtool=prometheus prometheus-alertmanager=prometheus-alertmanager)
# What builds agent/bpf and portreeve-watch (a command or a header, and its package): without them the agent watches without eBPF, or through other monitors.
compilers := clang=clang bpftool=bpftool gcc=gcc /usr/include/stdio.h=libc6-dev /usr/include/bpf/libbpf.h=libbpf-dev /usr/include/libelf.h=libelf-dev /usr/include/zlib.h=zlib1g-dev
bpf_sources := $(wildcard agent/bpf/*.c agent/bpf/*.h)
tap := .tap/run.tap
npm_options := --ignore-scripts --no-audit --no-fund --loglevel=error
TESTS ?=

.PHONY: help deps demo test bench soak crashes fuzz fuzz-kernel client lint build web pages bpf watch launch debs packages release clean

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
	@missing=(); for pair in $(optional); do command -v "$${pair%%=*}" >/dev/null || [ -e "$${pair%%=*}" ] || missing+=("$${pair#*=}"); done; \
	if [ "$${#missing[@]}" -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"; } >/dev/null 2>&1 \
	    || echo "make deps: apt-get could not install $${missing[*]}; the tests that need them are skipped." >&2; \
	fi
	@missing=(); for pair in $(compilers); do command -v "$${pair%%=*}" >/dev/null || [ -e "$${pair%%=*}" ] || missing+=("$${pair#*=}"); done; \
	if [ "$${#missing[@]}" -gt 0 ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"; } >/dev/null 2>&1 \
	    || echo "make deps: apt-get could not install $${missing[*]}; portreeve-bpf cannot be built." >&2; \
	fi

node_modules/.package-lock.json: package-lock.json
	@npm ci $(npm_options) 2>/dev/null || { echo 'make deps: npm ci refuses this package-lock.json here; npm install keeps to it as far as it goes' >&2; npm install --no-save $(npm_options); }
	@touch $@

.tap/plugins: node_modules/.package-lock.json
	@tap build >/dev/null
	@touch $@

demo: deps web ## build a cluster of network namespaces, break it in three ways, and show what Portreeve says
	@node --disable-warning=ExperimentalWarning test/labs/demo.ts

test: deps web bpf watch debs ## run the tests (TESTS="test/x.test.ts …" for some of them)
	@mkdir -p .tap; rm -f $(tap); status=0; tap run --reporter=silent --output-file=$(tap) $(TESTS) </dev/null || status=$$?; \
	touch $(tap); node test/support/tally.ts $(tap); exit $$status

bench: deps bpf watch dist/agent.mjs dist/parse.cjs ## run the benchmarks
	@shopt -s nullglob; for file in test/bench/*.bench.ts; do node --disable-warning=ExperimentalWarning "$$file"; done

soak: deps watch dist/agent.mjs ## churn a node's rules under an agent for MINUTES=30 and compare the end with an oracle, as root
	@node --disable-warning=ExperimentalWarning test/bench/soak.ts

crashes: deps ## crash, kill and cut agents and collectors for longer than make test does (RUNS=5000 histories, KILLS=1000)
	@SEED=$${SEED:-$$RANDOM$$RANDOM} RUNS=$(or $(RUNS),5000) node --disable-warning=ExperimentalWarning test/delivery/model.test.ts
	@KILLS=$(or $(KILLS),1000) node --disable-warning=ExperimentalWarning test/delivery/kills.test.ts

fuzz: deps ## mutate real dumps and feed them to every parser (N=1000000 SEED=1 WORKERS=2)
	@nice node --disable-warning=ExperimentalWarning test/fuzz/parsers.ts

fuzz-kernel: deps ## judge the walk of N random rulesets by the kernel, as root (N=300 SEED=random)
	@RULESETS=$(or $(N),300) node --disable-warning=ExperimentalWarning test/labs/kernel/kernel.test.ts

client: deps ## write the client's types of the API from its OpenAPI document
	@node --disable-warning=ExperimentalWarning test/support/client-types.ts

lint: deps ## check format, house rules and types
	@biome check .
	@tsc --noEmit
	@tsc --noEmit -p collector/web

# The sources run as they are. A node's agent is also made into one file without types: reading and stripping hundreds of sources takes 50 MB of memory.
# Packages of CommonJS ask for Node's own modules by require, which a module does not have. Short names save 5 MB of the memory of a node.
bundle := esbuild --bundle --minify --platform=node --format=esm --target=node24 --log-level=warning --out-extension:.js=.mjs --outdir=dist
require := import{createRequire}from"node:module";const require=createRequire(import.meta.url);

build: deps dist/agent.mjs dist/parse.cjs web bpf watch launch pages ## check the types, bundle the agent into dist/ and build portreeve-bpf, portreeve-watch, manual pages and completion scripts
	@tsc --noEmit

dist/agent.mjs: $(shell find agent shared cli -name '*.ts') package.json package-lock.json Makefile | node_modules/.package-lock.json
	@$(bundle) --banner:js='$(require)' agent=cli/agent.program.ts describe.program=agent/host/describe.program.ts yaml.program=agent/host/yaml.program.ts

# With the list of its sources: cli/portreeve uses the bundle only if none of them is newer.
dist/parse.cjs: dist/skim.wasm $(shell find shared cli -name '*.ts') package.json package-lock.json Makefile | node_modules/.package-lock.json
	@$(bundle) --format=cjs --out-extension:.js=.cjs --metafile=dist/parse.json parse=cli/parse.program.ts
	@node -p '`sources="$${Object.keys(JSON.parse(fs.readFileSync("dist/parse.json")).inputs).concat("shared/netfilter/machine/skim.ts").join(" ")}"`' >dist/parse.sources; rm dist/parse.json

# The machine code by which bundles read large dumps: each finds it in its own folder.
dist/skim.wasm: $(wildcard shared/netfilter/machine/*) package-lock.json | node_modules/.package-lock.json
	@mkdir -p $(@D)
	@asc shared/netfilter/machine/skim.ts --config shared/netfilter/machine/asconfig.json --outFile $@

pages: deps ## write manual pages to dist/man and completion scripts to dist/completion
	@mkdir -p dist/completion
	@cli/portreeve man --out dist/man
	@for shell in bash zsh fish; do cli/portreeve completion $$shell >dist/completion/portreeve.$$shell; done

# All commands, the collector included, for packages: what a command needs is loaded when it runs. SQLite has a part in machine code, and stays a package.
dist/portreeve/portreeve.mjs: dist/skim.wasm $(shell find agent shared cli collector -name '*.ts') package.json package-lock.json Makefile | node_modules/.package-lock.json
	@rm -rf dist/portreeve
	@$(bundle)/portreeve --splitting --chunk-names='chunk-[hash]' --external:better-sqlite3 --banner:js='$(require)' portreeve=cli/main.ts \
	  sqlite.worker=collector/store/sqlite.worker.ts describe.program=agent/host/describe.program.ts yaml.program=agent/host/yaml.program.ts
	@cp dist/skim.wasm dist/portreeve/

launch: ## build dist/portreeve-launch and dist/portreeve-relay, which packages start daemons and eBPF with, where a C compiler is
	@if command -v gcc >/dev/null && [ -e /usr/include/stdio.h ]; then $(MAKE) dist/portreeve-launch dist/portreeve-relay; \
	else echo "portreeve-launch is not built: not installed is gcc or libc6-dev." >&2; fi

dist/portreeve-launch dist/portreeve-relay: dist/%: packaging/launch/%.c
	@mkdir -p dist
	@gcc -D_GNU_SOURCE -O2 -Wall -Wextra -static -s -o $@ $<

# Debian packages as the tests install them: compressed quickly.
debs: build dist/portreeve/portreeve.mjs dist/debs/built

dist/debs/built: dist/agent.mjs dist/portreeve/portreeve.mjs dist/web/index.html $(wildcard dist/portreeve-* packaging/*.ts packaging/deb/* systemd/* systemd/examples/*)
	@mkdir -p dist/debs; if command -v dpkg-deb >/dev/null && [ -e dist/portreeve-launch ]; then \
	  node --disable-warning=ExperimentalWarning packaging/main.ts debs --compression gzip --out dist/debs >$@.tmp; mv $@.tmp $@; \
	else echo "The Debian packages are not built: not installed is dpkg-deb or gcc." >&2; fi

packages: build dist/portreeve/portreeve.mjs ## build .deb, images, executables, chart and their sums into dist/packages (root, for the images)
	@rm -rf dist/packages
	@node --disable-warning=ExperimentalWarning packaging/main.ts debs images executable chart
	@if command -v aarch64-linux-gnu-gcc >/dev/null; then node --disable-warning=ExperimentalWarning packaging/main.ts debs images executable --arch arm64; \
	else echo "Nothing is built for arm64: not installed is gcc-aarch64-linux-gnu." >&2; fi
	@node --disable-warning=ExperimentalWarning packaging/main.ts checksums

release: deps ## check that this tree may be released, then lint, test, and build its packages
	@node --disable-warning=ExperimentalWarning packaging/release.check.ts
	@$(MAKE) lint test packages
	@cd dist/packages && sha256sum --quiet -c SHA256SUMS && echo "$$(wc -l <SHA256SUMS) files in dist/packages"

web: deps dist/web/index.html ## build the page that the collector serves, into dist/web

# What the page shares with the collector and the agent is bundled with it.
dist/web/index.html: $(shell find collector/web collector/api collector/correlate collector/explain shared -name '*.ts' -o -name '*.tsx' -o -name '*.css' -o -name '*.html' -o -name '*.svg') package-lock.json | node_modules/.package-lock.json
	@node collector/web/build.ts

watch: ## build dist/portreeve-watch, where a C compiler is: without it the agent watches through nft monitor and ip monitor
	@if command -v gcc >/dev/null && [ -e /usr/include/linux/netfilter/nf_tables.h ]; then $(MAKE) dist/portreeve-watch; \
	else echo "portreeve-watch is not built: not installed is gcc, libc6-dev or linux-libc-dev." >&2; fi

dist/portreeve-watch: agent/monitors/portreeve-watch.c
	@mkdir -p dist
	@gcc -D_GNU_SOURCE -O2 -Wall -Wextra -static -s -o $@ $<

bpf: ## build dist/portreeve-bpf, where its compilers are
	@missing=(); for pair in $(compilers); do command -v "$${pair%%=*}" >/dev/null || [ -e "$${pair%%=*}" ] || missing+=("$${pair#*=}"); done; \
	if [ "$${#missing[@]}" = 0 ]; then $(MAKE) dist/portreeve-bpf; \
	else echo "portreeve-bpf is not built, and the agent watches without eBPF: not installed are $${missing[*]}." >&2; fi

dist/portreeve-bpf: $(bpf_sources)
	@mkdir -p dist/bpf
	@clang -target bpf -D__TARGET_ARCH_$(subst x64,x86,$(arch)) -I/usr/include/$$(gcc -print-multiarch) -g -O2 -Wall -Wextra -fdebug-prefix-map=$(CURDIR)=. -c agent/bpf/portreeve.bpf.c -o dist/bpf/whole.o
	@bpftool gen object dist/bpf/portreeve.o dist/bpf/whole.o
	@bpftool gen skeleton dist/bpf/portreeve.o name portreeve_bpf >dist/bpf/portreeve.skel.h
	@link() { gcc -D_GNU_SOURCE -O2 -Wall -Wextra -static -s -Idist/bpf -Iagent/bpf -o dist/bpf/portreeve-bpf $(filter-out %.bpf.c,$(filter %.c,$(bpf_sources))) -lbpf -lelf -lz "$$@"; }; \
	link 2>dist/bpf/link.log || link -lzstd || { cat dist/bpf/link.log >&2; exit 1; }
	@mv dist/bpf/portreeve-bpf $@

clean: ## remove what make made, but for node_modules
	@rm -rf .tap coverage dist
