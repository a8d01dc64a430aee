#!/usr/bin/env bash
# What CI runs: installs the peers the tests talk to, builds the screen, checks, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
# A clean checkout gains nothing from incremental files; line tables are most of what test binaries weigh.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
# What is not in a build by default and is tested here.
features=onemap/oidc,onemap/sm2
say() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

# A linker that meets a full disk dies of a bus error and says nothing of the disk.
need_gib=12
free_gib=$(($(df -Pk . | awk 'NR == 2 { print $4 }') / 1048576))
built_gib=$(($(du -sk target 2>/dev/null | cut -f1 || echo 0) / 1048576))
if [ $((free_gib + built_gib)) -lt "$need_gib" ]; then
    echo "tests/run.sh: $free_gib GiB are free here and a build with its tests takes up to $need_gib" >&2
fi

# System tests wait for clocks and disks more than they compute.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-3}"

say "peers from Debian"
packages=()
command -v mosquitto_pub >/dev/null || packages+=(mosquitto-clients)
[ -x /usr/sbin/mosquitto ] || packages+=(mosquitto)
/usr/bin/python3 -c 'import pymodbus.server' 2>/dev/null || packages+=(python3-pymodbus python3-serial-asyncio)
command -v ogrinfo >/dev/null || packages+=(gdal-bin)
command -v faketime >/dev/null || packages+=(faketime)
command -v victoria-metrics >/dev/null || packages+=(victoria-metrics)
[ -x /usr/bin/chromium ] || packages+=(chromium)
[ -x /usr/bin/victoria-metrics ] || packages+=(victoria-metrics)
[ -x /usr/bin/influxd ] || packages+=(influxdb)
command -v prometheus-alertmanager >/dev/null || packages+=(prometheus-alertmanager)
[ -x /usr/bin/aiosmtpd ] || packages+=(python3-aiosmtpd)
if [ ${#packages[@]} -gt 0 ]; then
    as_root=""; [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

say "clients from PyPI and npm"
./tests/peers/install.sh

say "the screen"
make --no-print-directory screen
(cd dashboards/web && npm run --silent check && npm run --silent test)

say "format, lints, docs, walls"
make --no-print-directory check

say "binaries"
cargo build --workspace --locked --features "$features"

say "unit, property and system tests"
cargo test --workspace --locked --no-fail-fast --features "$features"
say "lints of what is not built by default"
cargo clippy --workspace --all-targets --locked --features "$features" -- -D warnings
say "InfluxDB 2 built in, and nothing else that is no default"
cargo clippy -p onemap-store -p onemap --features influxdb2 --all-targets --locked -- -D warnings
cargo test -p onemap-store --features influxdb2 --locked --lib --test engines -- influx notary::
say "done"
