# onemap: `make run` shows the demo city, `make test` is what CI runs.
.DEFAULT_GOAL := help
.PHONY: help run build screen test proof check bench bench-ingest bench-history bench-map bench-forecast bench-login bench-alerts fuzz need-rust need-node clean-demo
SHELL := /bin/bash

CARGO ?= cargo
WEB := dashboards/web

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: build ## build screen and server, start the demo city, print the address
	./target/release/onemap demo $(ARGS)

build: screen need-rust ## build the screen and all binaries (release)
	$(CARGO) build --release --locked --workspace

screen: need-node $(WEB)/dist/index.html ## build the screen

$(WEB)/dist/index.html: $(shell find $(WEB)/src $(WEB)/public -type f 2>/dev/null) $(WEB)/index.html $(WEB)/package-lock.json $(WEB)/vite.config.ts
	cd $(WEB) && npm ci --no-audit --no-fund && npm run build

test: need-rust need-node ## everything CI runs: lints, unit, property and system tests with real peers
	./tests/run.sh

check: need-rust ## format, clippy, docs, licences
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked --quiet
	./tests/layers.sh
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(CARGO) deny --offline check bans licenses sources; else echo "cargo-deny is not installed: licence and ban check skipped (cargo install cargo-deny)"; fi

proof: build ## the long proofs: kill rounds, load, 20,000 idle connections, soak; resumable, results in docs/proof/
	./tests/proof.sh

bench: build ## figures beside real peers, into docs/benchmarks.md's raw results
	./benches/run.sh

bench-ingest: need-rust ## the front door beside mosquitto and VictoriaMetrics: the table of docs/benchmarks.md, 15 minutes
	$(CARGO) build --release --locked -p onemap -p onemap-sim -p onemap-ingest --bins --examples
	python3 benches/ingest.py $(ARGS)

bench-history: need-rust ## history beside VictoriaMetrics, InfluxDB and PostgreSQL: the table of docs/benchmarks.md, 10 minutes
	$(CARGO) build --release --locked -p onemap -p onemap-store --bins --examples
	python3 benches/history.py $(ARGS)

bench-map: need-rust ## the map, its indexes, tiles and HTTP beside PostGIS: the tables of docs/benchmarks.md, 8 minutes (Debian's postgresql-15-postgis-3)
	$(CARGO) build --release --locked -p onemap -p onemap-spatial --bins --examples
	python3 benches/map.py $(ARGS)

bench-forecast: need-rust ## training, 2,000 nightly refits and 10,000 forecasts: the table of docs/benchmarks.md, half a minute (ARGS=100: that many gauges)
	$(CARGO) build --release --locked -p onemap-forecast --examples
	./target/release/examples/refit $(ARGS)

bench-login: need-rust ## log-in while passwords are guessed 1,000 times a second: the table of docs/benchmarks.md, 2 minutes
	$(CARGO) build --release --locked -p onemap --bins
	python3 benches/login.py $(ARGS)

bench-alerts: need-rust ## rules, the way of an alert to who listens, and a storm's lists: the table of docs/benchmarks.md, 4 minutes
	$(CARGO) build --release --locked -p onemap -p onemap-sim --bins
	$(CARGO) build --release --locked -p onemap-rules -p onemap-alerts --examples
	python3 benches/alerts.py $(ARGS)

fuzz: need-rust ## fuzz the decoders, a minute each (needs cargo-fuzz and a C++ compiler; fuzz/README.md)
	./fuzz/run.sh

need-rust:
	@$(CARGO) --version >/dev/null 2>&1 || { echo "Rust 1.90 or newer is needed: install rustup (https://rustup.rs) or Debian's rustup package"; exit 1; }
	@v=$$(rustc --version | sed -E 's/^rustc ([0-9]+)\.([0-9]+).*/\1 \2/'); set -- $$v; [ $$1 -gt 1 ] || [ $$2 -ge 90 ] || { echo "Rust 1.90 or newer is needed, this is $$(rustc --version)"; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is needed: apt-get install gcc libc6-dev"; exit 1; }

need-node:
	@command -v node >/dev/null && command -v npm >/dev/null || { echo "Node.js 20.19 or newer with npm is needed (https://nodejs.org); Debian 12's own Node 18 is too old for the screen's build"; exit 1; }
	@node -e 'const [a,b]=process.versions.node.split(".").map(Number); if (a<20||(a===20&&b<19)) {console.error("Node.js 20.19 or newer is needed, this is "+process.version); process.exit(1)}'
