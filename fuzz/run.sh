#!/usr/bin/env bash
# Each target for SECONDS_EACH (default 60) seconds, or only the targets that are named. What a target finds is
# kept in fuzz/artifacts/TARGET and the others still run; the end is 1 then.
# SANITIZER=none for a compiler without AddressSanitizer.
set -euo pipefail
cd "$(dirname "$0")"
needs() { echo "make fuzz needs $1: $2" >&2; exit 1; }
cargo fuzz --version >/dev/null 2>&1 || needs cargo-fuzz "cargo install cargo-fuzz --locked"
command -v c++ >/dev/null || needs "a C++ compiler, for libFuzzer" "apt-get install g++"
seconds="${SECONDS_EACH:-60}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || { echo "SECONDS_EACH=$seconds: a number of seconds, at least 1" >&2; exit 1; }
# The flags that instrument the code are unstable; this lets a stable compiler take them.
export RUSTC_BOOTSTRAP=1
# The dependencies that ship are the ones that are fuzzed.
[ Cargo.lock -nt ../Cargo.lock ] || cp ../Cargo.lock Cargo.lock

targets=("$@")
[ $# -gt 0 ] || for file in fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
options=(--fuzz-dir . --sanitizer "${SANITIZER:-address}")
cargo fuzz build "${options[@]}"
failed=()
for target in "${targets[@]}"; do
    echo "== $target, $seconds s"
    cargo fuzz run "${options[@]}" "$target" -- -max_total_time="$seconds" -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 \
        || failed+=("$target")
done
[ ${#failed[@]} -eq 0 ] || { echo "found something: ${failed[*]} (fuzz/artifacts/)" >&2; exit 1; }
echo "nothing found in: ${targets[*]}"
