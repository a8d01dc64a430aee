#!/usr/bin/env bash
# Each target for SECONDS_EACH (default 60) seconds.
set -euo pipefail
cd "$(dirname "$0")"
cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is needed: cargo install cargo-fuzz"; exit 1; }
export RUSTC_BOOTSTRAP=1
for target in frame rules cbor line gateway push profile transport; do
    echo "== $target"
    cargo fuzz run --fuzz-dir . "$target" -- -max_total_time="${SECONDS_EACH:-60}" -rss_limit_mb=2048
done
