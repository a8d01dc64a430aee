//! A body on its way to a file of the data folder that has no name: nobody else reads it, and it goes when it was read,
//! also when the server is killed before.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use onemap_log::Log;
use onemap_store::register::import::nameless;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

use crate::error::Problem;
use crate::views::Views;

/// Largest file that is taken, bytes.
pub(crate) const MAX_FILE: u64 = 4 << 30;
/// The folder, in the data folder.
pub(crate) const FOLDER: &str = "import";

/// What was sent, and the folder that it lies in without a name.
pub(super) struct Upload {
    pub(super) file: File,
    pub(super) folder: PathBuf,
}

/// How much of the disk a file may take: that of the data folder, which the journal lies in.
#[derive(Clone, Debug)]
pub(super) struct Room {
    dir: PathBuf,
    log: Log,
}

/// Bytes beside a file's own that its import takes for each: in the journal and in the register.
const N_COPIES: u64 = 3;
/// Bytes that are written between two looks at the disk.
const LOOK: u64 = 8 << 20;

impl Room {
    pub(super) fn of(views: &Views) -> Self {
        Self {
            dir: views.dir.clone(),
            log: views.log.clone(),
        }
    }

    /// Says so when `n` more bytes and what comes of them have no room.
    pub(super) fn check(&self, n: u64) -> Result<(), Problem> {
        let free = self.log.room_bytes().map_err(|error| Problem::internal(&error))?;
        match free / N_COPIES >= n {
            true => Ok(()),
            false => Err(Problem::no_room(format!(
                "the disk of the data folder has {free} bytes free beyond its reserve: a file takes {N_COPIES} times its size until it is in"
            ))),
        }
    }
}

/// Writes a body to a file.
pub(super) async fn take(room: &Room, announced: Option<u64>, body: Body) -> Result<Upload, Problem> {
    if let Some(n) = announced {
        if n > MAX_FILE {
            return Err(Problem::too_large(format!("a file has at most {MAX_FILE} bytes")));
        }
        room.check(n)?;
    }
    let folder = room.dir.join(FOLDER);
    let (chunks, mut inbox) = mpsc::channel::<Bytes>(8);
    let writing = tokio::task::spawn_blocking(move || -> io::Result<Upload> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let mut file = nameless(&folder)?;
        while let Some(chunk) = inbox.blocking_recv() {
            file.write_all(&chunk)?;
        }
        Ok(Upload { file, folder })
    });
    let mut body = body.into_data_stream();
    let mut n: u64 = 0;
    let mut failed = None;
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                failed = Some(Problem::bad_request("bad_body", error.to_string()));
                break;
            }
        };
        let before = n;
        n += chunk.len() as u64;
        if n / LOOK != before / LOOK
            && let Err(problem) = room.check(LOOK)
        {
            failed = Some(problem);
            break;
        }
        if n > MAX_FILE {
            failed = Some(Problem::too_large(format!("a file has at most {MAX_FILE} bytes")));
            break;
        }
        // The writer has failed and says why.
        if chunks.send(chunk).await.is_err() {
            break;
        }
    }
    drop(chunks);
    let written = writing.await.map_err(|e| Problem::internal(&e))?;
    match (failed, written) {
        (Some(problem), _) => Err(problem),
        (None, Ok(upload)) => Ok(upload),
        (None, Err(error)) => Err(Problem::internal(&error)),
    }
}

/// Takes away what a stop in the middle of an import or export has left. For a start, before there is any.
///
/// # Errors
/// When a folder cannot be emptied.
pub fn sweep(dir: &Path) -> io::Result<()> {
    for folder in [FOLDER, crate::api::entity_export::FOLDER] {
        match std::fs::remove_dir_all(dir.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
