//! A file that is looked at now and then, for whoever wants to know when it says something else: written in place, renamed over, or
//! behind a symbolic link that was turned elsewhere, as Kubernetes does with what it mounts.

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher as _},
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

/// Between two looks. What changed is taken once two looks find the same, so that a file that is being written is not read half.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// More than this of it is not looked at.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// A file that may change.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    /// What it said when it was told about last; nothing if it could not be read.
    told: Option<u64>,
    /// What it said at the last look.
    seen: Option<u64>,
}

impl WatchedFile {
    /// The file as it is now, or is not.
    pub fn now(path: PathBuf) -> Self {
        let told = look(&path);
        Self { path, told, seen: told }
    }

    /// Waits until it says something else than it did, or is gone, or back. Nothing is lost if this is broken off.
    pub async fn changed(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            let path = self.path.clone();
            // A task that was not finished because the process ends has nobody to tell.
            let Ok(found) = tokio::task::spawn_blocking(move || look(&path)).await else { continue };
            let is_settled = std::mem::replace(&mut self.seen, found) == found;
            if is_settled && found != self.told {
                self.told = found;
                return;
            }
        }
    }
}

fn look(path: &Path) -> Option<u64> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)).ok()?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    async fn is_told(file: &mut WatchedFile) -> bool {
        tokio::time::timeout(Duration::from_secs(5), file.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_in_which_a_file_changes_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        // As the kubelet lays out a ConfigMap: the file is a link through a directory that is one.
        for (version, text) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("file"), text).unwrap();
        }
        symlink("v1", path("data")).unwrap();
        symlink("data/file", path("file")).unwrap();
        let mut file = WatchedFile::now(path("file"));

        symlink("v2", path("data.new")).unwrap();
        fs::rename(path("data.new"), path("data")).unwrap();
        assert!(is_told(&mut file).await, "a link that was turned");
        fs::write(path("v2").join("file"), "three").unwrap();
        assert!(is_told(&mut file).await, "written in place");
        fs::write(path("other"), "four").unwrap();
        fs::rename(path("other"), path("file")).unwrap();
        assert!(is_told(&mut file).await, "renamed over");
        fs::remove_file(path("file")).unwrap();
        assert!(is_told(&mut file).await, "gone");
        fs::write(path("file"), "four").unwrap();
        assert!(is_told(&mut file).await, "back");
        fs::write(path("file"), "four").unwrap();
        let touched = tokio::time::timeout(3 * LOOK_EVERY, file.changed()).await;
        assert!(touched.is_err(), "touched, and the same");
    }

    #[tokio::test]
    async fn what_is_still_being_written_is_not_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        let mut file = WatchedFile::now(path.clone());
        for so_far in ["n", "ne", "new"] {
            fs::write(&path, so_far).unwrap();
            // Time for one look, which finds what the one before did not.
            assert!(tokio::time::timeout(LOOK_EVERY * 3 / 2, file.changed()).await.is_err(), "{so_far}");
        }
        assert!(is_told(&mut file).await);
    }
}
