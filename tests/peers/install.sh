#!/usr/bin/env bash
# Installs the clients and providers we did not write into target/peers (git-ignored): eleven Python environments and one
# node_modules, exactly as pinned beside this file. What is there already and still matches its pins is left
# alone, so a second run needs no network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$here/../../target/peers
mkdir -p "$into"
into=$(cd "$into" && pwd)

python=python3
if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    python=/usr/bin/python3
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        as_root=""; [ "$(id -u)" = 0 ] || as_root=sudo
        $as_root apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    fi
fi

# A folder counts only with the sum of its pins in it, written last.
holds() { [ "$(cat "$1/pins" 2>/dev/null)" = "$2" ]; }

environment() { # name, requirements file, perhaps --no-deps: what is pinned needs nothing that it names
    local folder=$into/$1 sum
    sum="$(sha256sum < "$here/$2") $("$python" --version)"
    holds "$folder" "$sum" && return
    rm -rf "$folder"
    "$python" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check ${3:+"$3"} --requirement "$here/$2"
    [ -n "${3:-}" ] || "$folder/bin/python" -m pip check --disable-pip-version-check
    echo "$sum" > "$folder/pins"
}
environment cap requirements-cap.txt
environment clients requirements.txt
environment codes requirements-codes.txt
environment contract requirements-contract.txt
environment columns requirements-columns.txt
environment geopackage requirements-geopackage.txt --no-deps
environment ogc requirements-ogc.txt
environment shapes requirements-shapes.txt
environment thingsboard requirements-thingsboard.txt
environment tiles requirements-tiles.txt
environment thingsboard-mqtt311 requirements-thingsboard-mqtt311.txt

sum="$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)"
if ! holds "$into/node" "$sum"; then
    rm -rf "$into/node"
    mkdir "$into/node"
    cp "$here/package.json" "$here/package-lock.json" "$into/node/"
    (cd "$into/node" && npm ci --no-audit --no-fund --silent)
    echo "$sum" > "$into/node/pins"
fi
