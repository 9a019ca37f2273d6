//! Notices when the contents of files change.
//!
//! The contents are compared, not the times or inodes. So every kind of change counts: a file written in place, a file renamed
//! over, and a symbolic link that points elsewhere, which is how Kubernetes replaces a mounted ConfigMap or Secret.
//! This module must not know what the files mean.

use std::{fmt, fs::File, io::Read as _, path::PathBuf, time::Duration};

use tokio::time::sleep;

/// Pause between two looks at the files. A change counts once two looks in a row find the same contents, so that a half-written
/// file is not used.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The contents of each file, in the order of the paths, or why the file could not be read.
pub type WatchedContents = Vec<Result<Vec<u8>, String>>;

/// Files whose contents may change.
pub struct WatchedFiles {
    paths: Vec<PathBuf>,
    max_bytes: u64,
    /// What [`Self::changed`] returned last.
    reported: WatchedContents,
    /// What the last look found.
    seen: WatchedContents,
}

/// Omits the contents: they may be keys or tokens.
impl fmt::Debug for WatchedFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WatchedFiles").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl WatchedFiles {
    /// Reads the files for the first time. A file with more than `max_bytes` counts as unreadable.
    pub fn open(paths: Vec<PathBuf>, max_bytes: u64) -> Self {
        let snapshot = read_all(&paths, max_bytes);
        Self { paths, max_bytes, reported: snapshot.clone(), seen: snapshot }
    }

    /// Returns the current snapshot: that of [`Self::open`], or the one that [`Self::changed`] returned last.
    pub fn snapshot(&self) -> &WatchedContents {
        &self.reported
    }

    /// Waits until the contents of any file change, or a file disappears or comes back, and returns the new snapshot.
    ///
    /// It is cancel safe: a change is reported by the next call.
    pub async fn changed(&mut self) -> &WatchedContents {
        loop {
            sleep(LOOK_EVERY).await;
            if self.look().await {
                return &self.reported;
            }
        }
    }

    /// Reads the files again. Returns whether they have changed since the last report, and two looks in a row agree.
    pub async fn look(&mut self) -> bool {
        let (paths, max_bytes) = (self.paths.clone(), self.max_bytes);
        // Reading may wait for a disk. The task fails only if the process is about to end.
        let Ok(found) = tokio::task::spawn_blocking(move || read_all(&paths, max_bytes)).await else { return false };
        let is_settled = self.seen == found;
        let is_new = is_settled && found != self.reported;
        if is_new {
            self.reported.clone_from(&found);
        }
        self.seen = found;
        is_new
    }
}

fn read_all(paths: &[PathBuf], max_bytes: u64) -> WatchedContents {
    let read = |path: &PathBuf| {
        let mut bytes = Vec::new();
        match File::open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes)) {
            Ok(_) if bytes.len() as u64 > max_bytes => Err(format!("it is larger than {} MiB", max_bytes >> 20)),
            Ok(_) => Ok(bytes),
            Err(error) => Err(error.to_string()),
        }
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    const MAX_BYTES: u64 = 1 << 20;

    fn watch(path: &Path) -> WatchedFiles {
        WatchedFiles::open(vec![path.to_owned()], MAX_BYTES)
    }

    async fn is_reported(file: &mut WatchedFiles) -> bool {
        tokio::time::timeout(Duration::from_secs(5), file.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_kind_of_change_is_reported_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // As the kubelet lays out a ConfigMap: the path of the file leads through a symbolic link to a directory.
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("file"), text).unwrap();
        }
        symlink("v1", path("data")).unwrap();
        symlink("data/file", path("file")).unwrap();
        let mut file = watch(&path("file"));

        symlink("v2", path("data.new")).unwrap();
        fs::rename(path("data.new"), path("data")).unwrap();
        assert!(is_reported(&mut file).await, "a link that points elsewhere");
        assert_eq!(file.snapshot(), &[Ok(b"two".to_vec())]);
        fs::write(path("v2").join("file"), "three").unwrap();
        assert!(is_reported(&mut file).await, "written in place");
        fs::write(path("other"), "four").unwrap();
        fs::rename(path("other"), path("file")).unwrap();
        assert!(is_reported(&mut file).await, "renamed over");
        fs::remove_file(path("file")).unwrap();
        assert!(is_reported(&mut file).await, "removed");
        assert!(file.snapshot()[0].is_err());
        fs::write(path("file"), "four").unwrap();
        assert!(is_reported(&mut file).await, "back");
        fs::write(path("file"), "four").unwrap();
        let touched = tokio::time::timeout(3 * LOOK_EVERY, file.changed()).await;
        assert!(touched.is_err(), "written again with the same contents");
    }

    #[tokio::test]
    async fn a_file_that_is_still_being_written_is_not_reported() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut file = watch(&path);
        for so_far in ["n", "ne", "new"] {
            fs::write(&path, so_far).unwrap();
            // Time for one look, which finds other contents than the one before.
            assert!(tokio::time::timeout(LOOK_EVERY * 3 / 2, file.changed()).await.is_err(), "{so_far}");
        }
        assert!(is_reported(&mut file).await);
    }
}
