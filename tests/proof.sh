#!/usr/bin/env bash
# The long proofs. Each writes its result into docs/proof/, with the commit it was taken at, and is skipped when no
# code changed since; `FRESH=1 make proof` runs all again, `ONLY=name make proof` one. A proof that ends with 77 needs
# what this machine has not: it is skipped, the last line names it, and a former result stays as it is.
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

skipped=()
prove() { # name, command…
    local name=$1 result="docs/proof/$1.txt" status=0
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
    "$@" >> "$result.part" 2>&1 || status=$?
    if [ $status = 77 ]; then
        skipped+=("$name")
        echo "!! $name is SKIPPED: $(tail -1 "$result.part")"
        rm "$result.part"
    elif [ $status = 0 ]; then
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
prove contract bash -o pipefail -ec 'ONEMAP_CONTRACT_EXAMPLES=60 cargo test --locked --workspace --test it contract:: -- --nocapture 2>&1 | grep -v " WARN onemap"'
prove chaos bash -ec 'for seed in 1 2 3 4 5; do python3 tests/proof/chaos.py --seed $seed; done'
prove kill-under-load python3 tests/proof/kill_under_load.py --rounds 100 --minutes 40
prove history-kills nice -n 19 python3 tests/proof/history_kills.py --rounds 50 --minutes 40
prove idle python3 tests/proof/idle.py
prove qgis python3 tests/proof/qgis.py
prove soak python3 tests/proof/soak.py --minutes 60
[ ${#skipped[@]} = 0 ] || echo "!! SKIPPED, and neither holds nor fails: ${skipped[*]}"
echo "what was asked for and not skipped holds"
