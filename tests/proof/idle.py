#!/usr/bin/env python3
"""20,000 idle connections, each with its RPC subscription, where the limit of open files of this machine forbids them.

The server and all clients on one machine need more than 20,000 open files in a process. Where the hard limit is lower
and may not be raised, a kernel of our own may: a small guest (qemu, emulated in software or by /dev/kvm where it works)
boots Debian's cloud kernel with an initramfs of busybox, the server, this machine's Python and benches/idle.py, which
measures there as it does here: the server's resident memory before and with the connections, their count by the
server's own gauge, and commands to a few devices that must come back executed.

Thrice: fifty connections a device, as in `make bench-ingest`; one connection a device; and that with transparent huge
pages for all memory, which is how Debian's kernel starts. They are off for all but who asks in the first two: with them
the server begins with memory that it does not use yet, and connections that take it would look cheaper than they are.

What is checked: as many connections as were asked for, at most 16 KiB of the server's memory each, all commands executed.
Ends with 77 (skipped) where qemu or the guest's parts are neither there nor to be had.

    tests/proof/idle.py [--connections 20000] [--accel kvm|tcg] [--memory 3G] [--minutes 40] [--work proof-work/idle]

The server is ONEMAP_BIN/onemap (default target/release).
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time

from outside import BIN, ROOT

AT_MOST_KIB = 16
COMMANDS = 5
#: Name, transparent huge pages, connections a device.
RUNS = [("fifty-a-device", "madvise", 50), ("one-a-device", "madvise", 1), ("one-a-device-huge-pages", "always", 1)]
SKIPPED = 77
#: Of the guest: what a process may open. The server keeps 2,512 for all else than devices.
FILES = 65_536
#: Left out of the guest's Python.
NOT_NEEDED = ("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages",
              "__pycache__", "config-*", "*.a")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp PYTHONHOME=/python PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs -o size=50% tmp /tmp
exec </dev/console >/dev/console 2>&1
ip link set lo up
ulimit -Hn {files}
ulimit -Sn {files}
memory=$(sed -n 's/^MemTotal: *//p' /proc/meminfo)
echo "guest: Linux $(uname -r), $(nproc) CPUs, $memory, $(ulimit -Hn) open files a process, up after $(cut -d' ' -f1 /proc/uptime) s"
measure() {{ # name, huge pages, connections a device
    echo $2 > /sys/kernel/mm/transparent_hugepage/enabled
    echo "guest: begin $1"
    /python/bin/python3 /idle.py --onemap /onemap --connections {n} --per-device $3 --commands {commands} --wait {wait}
    echo "guest: end $1 with $?, $(cut -d' ' -f1 /proc/uptime) s"
}}
{runs}
poweroff -f
"""


def skip(why):
    print(f"skipped: {why}")
    sys.exit(SKIPPED)


def installed_qemu():
    if not shutil.which("qemu-system-x86_64") and shutil.which("apt-get"):
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        try:
            subprocess.run([*as_root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "qemu-system-x86"],
                           env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, stdout=subprocess.DEVNULL, check=False)
        except OSError:
            pass  # no sudo
    return shutil.which("qemu-system-x86_64") or skip("no qemu-system-x86_64 here, and it could not be installed")


def from_debian(work):
    """Kernel and busybox, unpacked out of Debian's packages; kept in `work`."""
    there = work / "debian"
    if not list(there.glob("boot/vmlinuz-*")) or not (there / "bin" / "busybox").exists():
        shutil.rmtree(work / "debs", ignore_errors=True)
        (work / "debs").mkdir()
        try:
            says = subprocess.run(["apt-cache", "depends", "linux-image-cloud-amd64"], check=True, capture_output=True, text=True).stdout
            kernel = re.search(r"Depends: (linux-image-\S+-cloud-amd64)$", says, re.M)[1]
            subprocess.run(["apt-get", "download", "-qq", kernel, "busybox-static"], cwd=work / "debs", check=True)
            for package in (work / "debs").iterdir():
                subprocess.run(["dpkg", "-x", package, there], check=True)
        except (OSError, TypeError, subprocess.CalledProcessError) as error:
            skip(f"kernel and busybox of the guest cannot be had from Debian: {error}")
    return max(there.glob("boot/vmlinuz-*")), there / "bin" / "busybox"


def libraries(program):
    """Shared libraries of a program or a module of Python, as `ldd` finds them."""
    says = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {word for line in says.splitlines() for word in line.split() if word.startswith("/")}


def make_initramfs(work, busybox, init):
    """A root file system of the few programs, packed as the kernel takes it."""
    root = work / "root"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "dev", "proc", "sys", "tmp", "python/bin", "python/lib"):
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin" / "busybox")
    shutil.copy(BIN / "onemap", root / "onemap")
    if shutil.which("strip"):
        # Names and lines for a debugger are never loaded; the guest's root is in its memory.
        subprocess.run(["strip", root / "onemap"], check=True)
    shutil.copy(ROOT / "benches" / "idle.py", root / "idle.py")
    stdlib = pathlib.Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, root / "python" / "lib" / stdlib.name, ignore=shutil.ignore_patterns(*NOT_NEEDED), symlinks=False)
    python = pathlib.Path(sys.executable).resolve()
    shutil.copy(python, root / "python" / "bin" / "python3")
    needed = libraries(BIN / "onemap") | libraries(python)
    for module in (root / "python").rglob("*.so"):
        needed |= libraries(module)
    for library in needed:
        into = root / library.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pathlib.Path(library).resolve(), into)
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    packed = work / "initramfs"
    with packed.open("wb") as out:
        names = subprocess.run(["find", "."], cwd=root, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run([busybox, "cpio", "-o", "-H", "newc"], cwd=root, input=names, stdout=out, stderr=subprocess.DEVNULL, check=True)
    return packed


def boot(qemu, kernel, initramfs, accel, memory, limit_s):
    """Lines of the guest's console until it is off. A guest that is not off in time is ended."""
    command = [qemu, "-accel", "tcg,thread=multi" if accel == "tcg" else accel, "-cpu", "max", "-m", memory, "-smp", "2",
               "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", kernel,
               "-initrd", initramfs, "-append", "console=ttyS0 quiet panic=-1"]
    guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    alarm = threading.Timer(limit_s, guest.kill)
    alarm.start()
    try:
        for line in guest.stdout:
            yield line.decode(errors="replace").rstrip()
    finally:
        alarm.cancel()
        guest.kill()
        guest.wait()


def accelerator(qemu, kernel):
    """kvm where a virtual machine of it runs at all, else emulation."""
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        trial = subprocess.Popen([qemu, "-accel", "kvm", "-cpu", "max", "-m", "256M", "-nodefaults", "-display", "none", "-serial", "stdio",
                                  "-no-reboot", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            if b"Linux version" in trial.communicate(timeout=20)[0]:
                return "kvm"
        except subprocess.TimeoutExpired:
            pass
        finally:
            trial.kill()
            trial.wait()
    return "tcg"


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--connections", type=int, default=20_000)
    args.add_argument("--accel", choices=["kvm", "tcg"])
    args.add_argument("--memory", default="3G")
    args.add_argument("--minutes", type=int, default=40)
    args.add_argument("--work", type=pathlib.Path, default=ROOT / "proof-work" / "idle")
    args = args.parse_args()
    if platform.machine() != "x86_64":
        skip("the guest is of x86_64")
    qemu = installed_qemu()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    kernel, busybox = from_debian(work)
    accel = args.accel or accelerator(qemu, kernel)
    runs = "\n".join(f"measure {name} {huge} {per_device}" for name, huge, per_device in RUNS)
    init = INIT.format(files=FILES, runs=runs, n=args.connections, commands=COMMANDS, wait=args.minutes * 60)
    initramfs = make_initramfs(work, busybox, init)
    processor = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    how = "hardware virtualization" if accel == "kvm" else "emulated in software"
    print(f"host: {os.cpu_count()} cores of {processor[1] if processor else 'unknown make'}, Linux {platform.release()}; "
          f"{version}, {how}", flush=True)
    start, found, at = time.monotonic(), {}, None
    for line in boot(qemu, kernel, initramfs, accel, args.memory, args.minutes * 60):
        print(line, flush=True)
        if line.startswith("guest: begin "):
            at = line.split()[2]
        elif line.startswith("{") and at:
            found[at] = json.loads(line)
    print(f"the guest ran for {time.monotonic() - start:.0f} s")
    holds = True
    for name, _, _ in RUNS:
        row = found.get(name)
        if row is None:
            print(f"{name}: no figure")
            holds = False
            continue
        n = row["connections"]
        grown = {key: (row[key][1] - row[key][0]) / n for key in ("rss_anon_kib", "kernel_slab_kib", "tcp_pages_kib")}
        print(f"{name}: {n:,} connections of {row['devices']:,} devices, {row['kib_each']:.2f} KiB of the server's memory each "
              f"({row['rss_before_kib'] / 1024:.1f} MiB before, {row['rss_after_kib'] / 1024:.1f} MiB with them; without pages of "
              f"files {grown['rss_anon_kib']:.2f} KiB each); of the kernel's, both ends together, "
              f"{grown['kernel_slab_kib'] + grown['tcp_pages_kib']:.2f} KiB each; "
              f"{row['connects_per_second']:,} connects/s; {row['commands_executed']} commands executed")
        holds &= n == args.connections and row["kib_each"] <= AT_MOST_KIB and row["commands_executed"] == COMMANDS
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
