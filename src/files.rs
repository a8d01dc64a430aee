//! Files of this process: how many may be open, and who may read what it makes.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use onemap_dashboards::limits::Limits;
use onemap_ingest::MqttConfig;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tracing::warn;

/// Files that are not connections of devices: journal, history, databases, requests.
const N_OWN: u64 = 512;

/// Raises the limit of open files to what is allowed, and gives the configuration with no more connections
/// than that leaves room for: beyond it `accept` fails, and nobody is told why.
/// HTTP has a quarter of the limit at most.
pub(crate) fn fitted(config: &MqttConfig, mut http: Limits) -> (MqttConfig, Limits) {
    let mut config = config.clone();
    let limit = raise();
    let quarter = limit.and_then(|limit| usize::try_from(limit / 4).ok());
    if let Some(quarter) = quarter
        && quarter < http.connections
    {
        warn!(
            "the limit of open files leaves room for {quarter} HTTP connections and not for [http] \
             max_connections = {}",
            http.connections
        );
        http.connections = quarter;
    }
    let n_own = N_OWN + http.connections as u64;
    let fits = limit.map(|limit| limit.saturating_sub(n_own).max(limit / 2));
    let wanted = config.limits.connections;
    if let Some(fits) = fits.and_then(|fits| usize::try_from(fits).ok())
        && fits < wanted
    {
        warn!(
            "the limit of open files leaves room for {fits} connections and not for [mqtt] max_connections = \
             {wanted}; raise it (LimitNOFILE= of systemd, `ulimit -Hn`) to {}",
            wanted as u64 + n_own
        );
        config.limits.connections = fits;
    }
    (config, http)
}

/// Raises the soft limit to the hard one. Gives it; `None` when there is none.
fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            warn!("the limit of open files cannot be raised: {error}");
            current
        }
    }
}

/// What the system said that files of this user are made without.
static USUAL: AtomicU32 = AtomicU32::new(0o022);
/// Files that are named when others may read them.
const N_NAMED: usize = 3;

/// From now on whatever is made is its owner's alone: databases and logs make their files by themselves, and none of
/// them says for whom.
pub(crate) fn make_private() {
    let usual = umask(Mode::from_raw_mode(0o077));
    USUAL.store(usual.as_raw_mode(), Ordering::Relaxed);
}

/// Gives a file that was made for the caller the rights that his other files have.
pub(crate) fn make_usual(file: &std::fs::File) -> std::io::Result<()> {
    let mode = 0o666 & !USUAL.load(Ordering::Relaxed);
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// Says so when others than its owner may look into a data folder.
pub(crate) fn warn_when_open(dir: &Path) {
    let open = open_to_others(dir);
    if open.is_empty() {
        return;
    }
    let named: Vec<String> = open
        .iter()
        .take(N_NAMED)
        .map(|path| path.display().to_string())
        .collect();
    warn!(
        files = open.len(),
        "others than its owner may read {} files and folders of the data folder, like {}: `chmod -R go= {}` ends that",
        open.len(),
        named.join(", "),
        dir.display()
    );
}

/// Whether others may read or write a file, wherever a link to it leads.
pub(crate) fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

/// What of a folder others may read or write, the folder itself first.
pub(crate) fn open_to_others(dir: &Path) -> Vec<PathBuf> {
    let mut open = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(path) = waiting.pop() {
        // What goes away meanwhile is read by nobody; links are what they lead to, elsewhere.
        let Ok(meta) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_symlink() {
            continue;
        }
        if meta.permissions().mode() & 0o077 != 0 {
            open.push(path.clone());
        }
        if meta.is_dir() {
            let held = std::fs::read_dir(&path).into_iter().flatten().flatten();
            waiting.extend(held.map(|entry| entry.path()));
        }
    }
    open
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_others_may_read_is_found_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let deep = dir.path().join("history/tables");
        std::fs::create_dir_all(&deep).unwrap();
        let file = deep.join("1");
        std::fs::write(&file, "x").unwrap();
        for path in [dir.path(), &dir.path().join("history"), &deep] {
            mode(path, 0o700);
        }
        mode(&file, 0o600);
        assert_eq!(open_to_others(dir.path()), Vec::<PathBuf>::new());
        mode(&file, 0o640);
        mode(dir.path(), 0o750);
        assert_eq!(open_to_others(dir.path()), [dir.path().to_owned(), file]);
    }
}
