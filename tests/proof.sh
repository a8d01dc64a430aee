#!/usr/bin/env bash
# The long proofs. Each writes its result into docs/proof/ and is skipped when that result is newer than
# the last commit that touched code; `FRESH=1 make proof` runs all again.
set -euo pipefail
export ONEMAP_LOG=warn RUST_LOG=warn
cd "$(dirname "$0")/.."
mkdir -p docs/proof proof-work
./tests/peers/install.sh
changed=$(git log -1 --format=%ct -- '*.rs' '*.toml' '*.yaml')

prove() { # name, command…
    local name=$1 result="docs/proof/$1.txt"
    shift
    if [ -z "${FRESH:-}" ] && [ -f "$result" ] && [ "$(stat -c %Y "$result")" -gt "$changed" ] && grep -q '^holds' "$result"; then
        echo "== $name: holds already ($result)"
        return
    fi
    echo "== $name"
    {
        echo "# $name, $(date -u +%Y-%m-%d), $(nproc) cores, $(git rev-parse --short HEAD)"
        echo "# $*"
    } > "$result.part"
    if "$@" >> "$result.part" 2>&1; then
        echo "holds" >> "$result.part"
        mv "$result.part" "$result"
        tail -4 "$result"
    else
        tail -20 "$result.part"
        echo "$name does NOT hold; see $result.part"
        exit 1
    fi
}

prove calm-city python3 tests/proof/demo.py calm --minutes 5
prove other-seed python3 tests/proof/demo.py seeds
prove gateway-kills env ONEMAP_KILL_ROUNDS=10 cargo test --locked --workspace --test it gateway:: -- --nocapture
prove chaos bash -ec 'for seed in 1 2 3 4 5; do python3 tests/proof/chaos.py --seed $seed; done'
prove kill-under-load python3 tests/proof/kill_under_load.py --rounds 100 --minutes 40
echo "all proofs hold"
