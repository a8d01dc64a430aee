#!/usr/bin/env bash
# Runs Eclipse Paho's MQTT 3.1.1 interoperability tests (eclipse/paho.mqtt.testing, not part of this
# repository) against a server on config/conformance.toml: PAHO_TESTING=/path/to/paho.mqtt.testing
# tests/peers/conformance.sh [test name …]. Prints one line a test, fails when one fails.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ -z "${PAHO_TESTING:-}" ]; then
    echo "SKIPPED: PAHO_TESTING does not name a checkout of eclipse/paho.mqtt.testing" >&2
    exit 0
fi
suite=$PAHO_TESTING/interoperability
[ -f "$suite/client_test.py" ] || suite=$PAHO_TESTING
[ -f "$suite/client_test.py" ] || { echo "there is no client_test.py under PAHO_TESTING=$PAHO_TESTING" >&2; exit 1; }
bin=${ONEMAP_BIN:-target/debug}
[ -x "$bin/onemap" ] || { echo "$bin/onemap is missing: cargo build, or set ONEMAP_BIN" >&2; exit 1; }

work=$(mktemp -d)
server=""
# The server's folder goes when the server has gone: until then it writes there.
end() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap end EXIT
# The committed configuration on free ports.
sed -E 's/^(listen *= *"[^"]*):[0-9]+"/\1:0"/' config/conformance.toml > "$work/conformance.toml"
"$bin/onemap" --data-dir "$work/data" --config "$work/conformance.toml" serve > "$work/ready" &
server=$!
for _ in $(seq 300); do
    [ -s "$work/ready" ] && break
    kill -0 "$server" 2>/dev/null || { echo "the server did not come up" >&2; exit 1; }
    sleep 0.1
done
[ -s "$work/ready" ] || { echo "the server did not say that it is ready within 30 s" >&2; exit 1; }
port=$(sed -E 's/.*"mqtt":"[^"]*:([0-9]+)".*/\1/' "$work/ready")
python3 tests/peers/conformance.py "$suite" "$port" "$@"
