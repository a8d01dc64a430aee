#!/usr/bin/env bash
# The long proofs. Each writes its result into docs/proof/, with the commit it was taken at, and is skipped when no
# code changed since; `FRESH=1 make proof` runs all again, `ONLY=name make proof` one.
set -euo pipefail
export ONEMAP_LOG=warn RUST_LOG=warn
cd "$(dirname "$0")/.."
mkdir -p docs/proof proof-work
./tests/peers/install.sh

# A result of this code: its commit is known here and no code differs from it.
is_current() {
    local commit
    commit=$(sed -n '1s/.* \([0-9a-f]\{7,40\}\)$/\1/p' "$1")
    [ -n "$commit" ] && git diff --quiet "$commit" -- '*.rs' '*.toml' '*.yaml' '*.py' 2>/dev/null
}

prove() { # name, command…
    local name=$1 result="docs/proof/$1.txt"
    shift
    [ -z "${ONLY:-}" ] || [ "$ONLY" = "$name" ] || return 0
    if [ -z "${FRESH:-}" ] && [ -f "$result" ] && grep -q '^holds' "$result" && is_current "$result"; then
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
prove history-kills nice -n 19 python3 tests/proof/history_kills.py --rounds 50 --minutes 40
prove soak python3 tests/proof/soak.py --minutes 60
echo "what was asked for holds"
