//! A value that is built from files, and built again when one of them changes.
//!
//! If nothing can be built from the new contents, the log says why, and the previous value stays.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::AccessError;
use crate::watched_files::{WatchedContents, WatchedFiles};

/// Largest file that is read, in bytes. It has room for hundreds of CA certificates.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file, and the setting that names it.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
}

/// Builds a value from the contents of the files, which are in the order of their names.
pub(super) type Make<T> = Box<dyn Fn(&[NamedFile], &[Vec<u8>]) -> Result<T, AccessError> + Send + Sync>;

/// A value that is built from files.
pub(in crate::serve) struct Reloaded<T> {
    what: &'static str,
    files: Vec<NamedFile>,
    make: Make<T>,
    current: Mutex<Arc<T>>,
    watched: tokio::sync::Mutex<WatchedFiles>,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files and builds the first value.
    pub(super) async fn read(
        what: &'static str,
        files: Vec<NamedFile>,
        make: Make<T>,
    ) -> Result<Arc<Self>, AccessError> {
        let paths = files.iter().map(|file| file.path.clone()).collect();
        let opened = tokio::task::spawn_blocking(move || WatchedFiles::open(paths, MAX_FILE_BYTES)).await;
        let watched = opened.map_err(|ended| unreadable(files.first(), ended.to_string()))?;
        let value = make(&files, &contents(&files, watched.snapshot())?)?;
        Ok(Arc::new(Self { what, files, make, current: Mutex::new(Arc::new(value)), watched: watched.into() }))
    }

    /// Returns the value that was built last.
    pub(in crate::serve) fn current(&self) -> Arc<T> {
        Arc::clone(&lock(&self.current))
    }

    /// Builds the value again whenever the files change. Never returns.
    pub(super) async fn reload_on_change(&self) {
        let mut watched = self.watched.lock().await;
        loop {
            self.rebuild(watched.changed().await);
        }
    }

    fn rebuild(&self, snapshot: &WatchedContents) {
        match contents(&self.files, snapshot).and_then(|contents| (self.make)(&self.files, &contents)) {
            Ok(value) => {
                *lock(&self.current) = Arc::new(value);
                tracing::info!("reloaded {}; new connections and calls use it", self.what);
            }
            Err(error) => tracing::error!(%error, "reloading {} failed; keeping the previous version", self.what),
        }
    }
}

/// Locks a mutex. No code panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the contents of all files, or an error for the first file that could not be read.
fn contents(files: &[NamedFile], snapshot: &WatchedContents) -> Result<Vec<Vec<u8>>, AccessError> {
    let read = files.iter().zip(snapshot);
    read.map(|(file, found)| found.clone().map_err(|cause| unreadable(Some(file), cause))).collect()
}

fn unreadable(file: Option<&NamedFile>, cause: String) -> AccessError {
    let (setting, file) = file.map(|file| (file.setting, file.path.clone())).unwrap_or_default();
    AccessError::Unreadable { setting, file, cause }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn each_change_is_tried_once_and_bad_contents_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "1").unwrap();
        let tried = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&tried);
        let make: Make<u32> = Box::new(move |files, contents| {
            counted.fetch_add(1, Ordering::Relaxed);
            let text = String::from_utf8_lossy(&contents[0]).into_owned();
            let NamedFile { setting, path } = files[0].clone();
            text.parse().map_err(|_| AccessError::Unusable { setting, file: path, cause: text })
        });
        let file = NamedFile { setting: "setting", path: path.clone() };
        let reloaded = Reloaded::read("a number", vec![file], make).await.unwrap();
        for (contents, current, tries) in
            [(Some("1"), 1, 1), (Some("x"), 1, 2), (None, 1, 2), (Some("x"), 1, 3), (Some("2"), 2, 4)]
        {
            match contents {
                Some(contents) => std::fs::write(&path, contents).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            for _ in 0..2 {
                // A change counts once two looks agree.
                for _ in 0..2 {
                    let mut watched = reloaded.watched.lock().await;
                    if watched.look().await {
                        reloaded.rebuild(watched.snapshot());
                    }
                }
                let found = (*reloaded.current(), tried.load(Ordering::Relaxed));
                assert_eq!(found, (current, tries), "{contents:?}");
            }
        }
    }
}
