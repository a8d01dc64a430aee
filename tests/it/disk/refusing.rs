//! A disk that refuses writes, syncs or reads under the server, and takes them again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Device, all_stored, devices, goes_on, is_refused_and_harmless, not_ready};
use crate::server::{CONFIG, Server, wait_for};

/// Makes every write below a folder fail as on a read-only disk while a file is there. The kernel itself
/// refuses `mount -o remount,ro` as long as a file is open for writing, and makes a file system read-only
/// under a writer only after an error of the device; what the server then sees is this.
const READ_ONLY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
static int below(const char *path) {
    const char *dir = getenv("READ_ONLY_DIR"), *flag = getenv("READ_ONLY_FLAG");
    return dir && flag && path && !strncmp(path, dir, strlen(dir)) && !access(flag, F_OK);
}
static int refused(int fd) {
    char link[64], path[4096];
    if (fd < 3) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below(path);
}
/* What the file FLAG.history says of files below history/: "write" tears the next write to a log of the engine
   and refuses what follows, "sync" fails its flushes only, "all" refuses every write, "read" fails every read. */
static const char *said(void) {
    static __thread char word[16];
    char path[4096];
    const char *flag = getenv("READ_ONLY_FLAG");
    REAL(open64);
    snprintf(path, sizeof path, "%s.history", flag ? flag : "");
    int fd = real(path, O_RDONLY);
    if (fd < 0) return "";
    ssize_t n = read(fd, word, sizeof word - 1);
    close(fd);
    word[n < 0 ? 0 : n] = 0;
    return word;
}
static int of_history(int fd, int logs_only) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 4) return 0;
    path[n] = 0;
    return strstr(path, "/history/") && (!logs_only || !strcmp(path + n - 4, ".jnl"));
}
static int is_torn;
#define GUARD(fd) if (refused(fd)) { errno = EROFS; return -1; } \
    if (fd >= 3 && !strcmp(said(), "all") && of_history(fd, 0)) { errno = EROFS; return -1; }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t at) { REAL(pwrite64); GUARD(fd) return real(fd, b, n, at); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t at) { REAL(pwrite); GUARD(fd) return real(fd, b, n, at); }
ssize_t write(int fd, const void *b, size_t n) {
    REAL(write); GUARD(fd)
    if (fd < 3 || !of_history(fd, 1)) return real(fd, b, n);
    if (strcmp(said(), "write")) { is_torn = 0; return real(fd, b, n); }
    if (n > 1 && !is_torn) { is_torn = 1; return real(fd, b, n / 2); }
    errno = EROFS;
    return -1;
}
int fsync(int fd) {
    REAL(fsync);
    if (!strcmp(said(), "sync") && of_history(fd, 1)) { errno = EIO; return -1; }
    return real(fd);
}
#define READABLE(fd) if (fd >= 3 && !strcmp(said(), "read") && of_history(fd, 0)) { errno = EIO; return -1; }
ssize_t pread64(int fd, void *b, size_t n, off64_t at) { REAL(pread64); READABLE(fd) return real(fd, b, n, at); }
ssize_t pread(int fd, void *b, size_t n, off_t at) { REAL(pread); READABLE(fd) return real(fd, b, n, at); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); GUARD(fd) return real(fd, n); }
int ftruncate(int fd, off_t n) { REAL(ftruncate); GUARD(fd) return real(fd, n); }
int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list list; va_start(list, flags); mode_t mode = va_arg(list, mode_t); va_end(list);
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && below(path)) { errno = EROFS; return -1; }
    return real(path, flags, mode);
}
"#;

/// A server's folder on a disk that refuses while files are there.
struct Refusing {
    library: PathBuf,
    /// The server's.
    dir: PathBuf,
    /// While it is there, nothing is written.
    flag: PathBuf,
    /// While it is there, the history's writes, syncs or reads fail, as it says.
    of_history: PathBuf,
}

impl Refusing {
    /// `None`, and said so, without a C compiler.
    fn new(folder: &Path) -> Option<Self> {
        Some(Self {
            library: shim(folder)?,
            dir: folder.join("data"),
            flag: folder.join("read-only"),
            of_history: folder.join("read-only.history"),
        })
    }

    fn start(&self) -> Server {
        std::fs::create_dir_all(self.dir.join("rules")).unwrap();
        std::fs::write(self.dir.join("onemap.toml"), CONFIG).unwrap();
        Server::start_with(&self.dir, |command| {
            command
                .env("LD_PRELOAD", &self.library)
                .env("READ_ONLY_DIR", &self.dir)
                .env("READ_ONLY_FLAG", &self.flag);
        })
    }
}

fn shim(dir: &Path) -> Option<PathBuf> {
    crate::server::peer("cc")?;
    let (source, library) = (dir.join("read_only.c"), dir.join("read_only.so"));
    std::fs::write(&source, READ_ONLY).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(library)
}

#[test]
fn a_read_only_disk_is_waited_out() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Refusing::new(folder.path()) else {
        return;
    };
    let server = disk.start();
    let (names, devices) = devices(&server, 0);
    wait_for("the first acknowledgements", Duration::from_secs(60), || {
        devices.iter().all(|d| d.n_acked() > 100).then_some(())
    });
    for _ in 0..2 {
        std::fs::write(&disk.flag, "").unwrap();
        is_refused_and_harmless(&server, &devices, &["Read-only file system"]);
        std::fs::remove_file(&disk.flag).unwrap();
        goes_on(&server, &devices);
    }
    let acked: Vec<_> = devices.into_iter().map(Device::end).collect();
    all_stored(&server, &names, &acked);
    let server = server.kill_and_restart();
    all_stored(&server, &names, &acked);
}

#[test]
fn a_write_of_the_history_that_fails_in_its_middle_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Refusing::new(folder.path()) else {
        return;
    };
    let server = disk.start();
    let (names, devices) = devices(&server, 0);
    wait_for("the first acknowledgements", Duration::from_secs(60), || {
        devices.iter().all(|d| d.n_acked() > 100).then_some(())
    });
    let id = wait_for("a value", Duration::from_secs(60), || {
        server.latest(&names[0], "seq")?["series"].as_u64()
    });
    let reopened = || server.metric("onemap_history_reopened_total").unwrap();
    assert_eq!(reopened(), 0);
    for (n, how) in [(1, "write"), (2, "sync"), (3, "all")] {
        // The middle of a checkpoint: the disk was found sound before it, and its write fails.
        std::fs::write(&disk.of_history, how).unwrap();
        let said = wait_for("a checkpoint that fails", Duration::from_secs(60), || {
            not_ready(&server).filter(|said| said.contains("history checkpoint"))
        });
        println!("{how}: {said}");
        // Then all of the disk is read-only.
        std::fs::write(&disk.flag, "").unwrap();
        is_refused_and_harmless(&server, &devices, &["Read-only file system"]);
        let read = server.request("GET", &format!("/api/v1/series/{id}/values"), None);
        assert_eq!(read.0, 200, "{}", read.1);
        std::fs::remove_file(&disk.of_history).unwrap();
        std::fs::remove_file(&disk.flag).unwrap();
        goes_on(&server, &devices);
        assert!(reopened() >= n, "after {how}: {}", reopened());
    }
    let acked: Vec<_> = devices.into_iter().map(Device::end).collect();
    all_stored(&server, &names, &acked);
    let verified = server.get("/api/v1/history/verify");
    assert_eq!(verified["n_faults"], 0, "{verified}");
    let server = server.kill_and_restart();
    all_stored(&server, &names, &acked);
}

#[test]
fn a_late_reading_whose_place_cannot_be_read_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Refusing::new(folder.path()) else {
        return;
    };
    let onemap = |dir: &Path, arguments: &[&str]| {
        let mut command = Command::new(crate::server::binary("onemap"));
        let done = command
            .arg("--data-dir")
            .arg(dir)
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let now = onemap_model::Timestamp::from_system(std::time::SystemTime::now()).ms();
    let start = now - 3_000_000;
    let at = |i: i64| start + i * 500;
    // No two alike, so that they take several blocks of a table: the last one is read at every start.
    let value = |i: i64| 60.0 + 50.0 * (i as f64).sin();
    // A history whose chunks are in tables on the disk, as a restore leaves them.
    let mut first = Server::new();
    first.add_device("air-1", &json!({}));
    let readings: Vec<_> = (0..5_900)
        .map(|i| json!({"q": "pm10", "t": at(i), "v": value(i)}))
        .collect();
    for some in readings.chunks(500) {
        first.post("/api/v1/readings", &json!({"device": "air-1", "readings": some}));
    }
    first.caught_up();
    first.stop();
    let backup = folder.path().join("backup");
    onemap(&first.dir, &["backup", backup.to_str().unwrap()]);
    onemap(&disk.dir, &["restore", backup.to_str().unwrap()]);

    let server = disk.start();
    std::fs::write(&disk.of_history, "read").unwrap();
    let (status, refused) = server.request("GET", "/api/v1/digest", None);
    assert_eq!(status, 503, "a digest is refused, and nothing else: {refused}");
    // One frame: what is new, then what is late three times (a revision, a repetition, a time of its own), then
    // what is new again.
    let said = json!({"device": "air-1", "readings": [
        {"q": "pm10", "t": now - 2000, "v": 77.0},
        {"q": "pm10", "t": at(100), "v": 99.5},
        {"q": "pm10", "t": at(101), "v": value(101)},
        {"q": "pm10", "t": at(102) + 250, "v": 66.5},
        {"q": "pm10", "t": now - 1000, "v": 78.0},
    ]});
    server.post("/api/v1/readings", &said);
    let why = wait_for("a word of the read", Duration::from_secs(60), || {
        not_ready(&server).filter(|said| said.contains("history cannot be read"))
    });
    println!("said: {why}");
    // It stays so while the disk does, and everything else is answered.
    let waited = Instant::now();
    while waited.elapsed() < Duration::from_secs(3) {
        assert_eq!(server.request("GET", "/health/live", None).0, 200);
        assert_eq!(server.request("GET", "/api/v1/latest", None).0, 200);
        assert!(not_ready(&server).is_some());
    }
    std::fs::remove_file(&disk.of_history).unwrap();
    wait_for("readiness", Duration::from_secs(60), || {
        not_ready(&server).is_none().then_some(())
    });
    server.caught_up();
    let latest = server.latest("air-1", "pm10").unwrap();
    assert_eq!(latest["value"], 78.0, "{latest}");
    let id = latest["series"].as_u64().unwrap();
    let all = |server: &Server, more: &str| {
        let path = format!("/api/v1/series/{id}/values?from={start}&to={now}&limit=9000{more}");
        let answer = server.get(&path);
        let items = answer["items"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["v"].as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let values = all(&server, "");
    assert_eq!(values.len(), 5_903, "each new time once");
    assert_eq!(all(&server, "&revisions=true").len(), 5_904, "one was replaced");
    for v in [99.5, 66.5, 77.0, 78.0] {
        assert_eq!(values.iter().filter(|own| **own == v).count(), 1, "{v}");
    }
    let server = server.kill_and_restart();
    server.caught_up();
    assert_eq!(all(&server, ""), values);
}
