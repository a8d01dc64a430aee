#!/usr/bin/env bash
# Figures beside real peers. Results go to standard output; docs/benchmarks.md holds the published ones.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || { echo "mosquitto is needed: apt-get install mosquitto"; exit 1; }
python3 benches/mqtt.py "$@"
