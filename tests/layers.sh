#!/usr/bin/env bash
# Holds the walls between members against what cargo says they import.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo metadata --format-version 1 --no-deps --locked | python3 -c '
import json, sys
leaf = {"onemap-model", "onemap-wire", "onemap-log", "onemap-rules", "onemap-standards", "onemap-cap"}
rooms = {"onemap-ingest", "onemap-spatial", "onemap-forecast", "onemap-alerts", "onemap-store"}
own = {"onemap-store": {"onemap-log"}, "onemap-alerts": {"onemap-rules", "onemap-cap"}}
bad = []
for package in json.load(sys.stdin)["packages"]:
    name = package["name"]
    uses = {d["name"] for d in package["dependencies"] if d["name"].startswith("onemap") and d["kind"] is None}
    if name in leaf and uses & (rooms | {"onemap-dashboards", "onemap"}):
        bad.append((name, uses & rooms))
    if name in rooms and uses & ((rooms | {"onemap-dashboards", "onemap"}) - {name}):
        bad.append((name, uses & rooms))
    if name == "onemap-cap" and uses - {"onemap-model"}:
        bad.append((name, uses))
    if name == "onemap-gateway" and uses - {"onemap-model", "onemap-wire", "onemap-log", "onemap-rules"}:
        bad.append((name, uses))
    if name == "onemap-sim" and uses - {"onemap-model", "onemap-wire"}:
        bad.append((name, uses))
for name, uses in bad:
    print(f"{name} may not import {sorted(uses)} (ARCHITECTURE.md, Members)")
sys.exit(1 if bad else 0)
'
