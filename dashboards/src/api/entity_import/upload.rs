//! A body on its way to a file of the data folder that nobody else reads and that goes when it was read.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use axum::body::Body;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;

use crate::error::Problem;

/// Largest file that is taken, bytes.
pub(crate) const MAX_FILE: u64 = 4 << 30;
/// The folder, in the data folder.
pub(crate) const FOLDER: &str = "import";

/// A file that goes with this value.
pub(super) struct Upload(PathBuf);

impl Upload {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // The next start empties the folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes a body to a file.
pub(super) async fn take(dir: &Path, body: Body) -> Result<Upload, Problem> {
    let folder = dir.join(FOLDER);
    let (chunks, mut inbox) = mpsc::channel::<Bytes>(8);
    let writing = tokio::task::spawn_blocking(move || -> io::Result<Upload> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let upload = Upload(folder.join(format!("{:016x}", u64::from_le_bytes(name))));
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&upload.0)?;
        while let Some(chunk) = inbox.blocking_recv() {
            file.write_all(&chunk)?;
        }
        Ok(upload)
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
        n += chunk.len() as u64;
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
