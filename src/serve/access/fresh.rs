//! Something that is made of files, and made anew when one of them changes.
//!
//! The contents are compared, not the times: Kubernetes swaps a link to another directory, and whoever copies a file may keep
//! its time. What was made last stays if nothing can be made of the new contents.

use std::{
    fs::File,
    io::Read as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::AccessError;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The largest file that is read, in bytes: hundreds of authorities.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A file, and the setting that names it.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) setting: &'static str,
    pub(super) path: PathBuf,
}

/// Makes something of the contents of the files, in their order.
pub(super) type Make<T> = Box<dyn Fn(&[NamedFile], &[Vec<u8>]) -> Result<T, AccessError> + Send + Sync>;

/// Something that is made of files.
pub(in crate::serve) struct Fresh<T> {
    what: &'static str,
    files: Vec<NamedFile>,
    make: Make<T>,
    current: Mutex<Arc<T>>,
    /// What was seen last, whether something could be made of it or not: the same is not complained of twice.
    seen: Mutex<Seen>,
}

/// The contents, or why there are none.
type Seen = Result<Vec<Vec<u8>>, String>;

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Makes it for the first time.
    pub(super) async fn read(
        what: &'static str,
        files: Vec<NamedFile>,
        make: Make<T>,
    ) -> Result<Arc<Self>, AccessError> {
        let contents = contents(files.clone()).await?;
        let current = Mutex::new(Arc::new(make(&files, &contents)?));
        Ok(Arc::new(Self { what, files, make, current, seen: Mutex::new(Ok(contents)) }))
    }

    /// As it was made last.
    pub(in crate::serve) fn current(&self) -> Arc<T> {
        Arc::clone(&lock(&self.current))
    }

    /// Makes it anew whenever the files change.
    pub(super) async fn keep(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    async fn look(&self) {
        let contents = contents(self.files.clone()).await;
        let now = match &contents {
            Ok(contents) => Ok(contents.clone()),
            Err(error) => Err(error.to_string()),
        };
        if std::mem::replace(&mut *lock(&self.seen), now.clone()) == now {
            return;
        }
        match contents.and_then(|contents| (self.make)(&self.files, &contents)) {
            Ok(made) => {
                *lock(&self.current) = Arc::new(made);
                tracing::info!("{} changed; new connections and calls find the new one", self.what);
            }
            Err(error) => tracing::error!(%error, "{} changed, and is of no use; the old one stays", self.what),
        }
    }
}

/// Nothing that holds a lock can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads all files, on a thread that may wait for a disk.
async fn contents(files: Vec<NamedFile>) -> Result<Vec<Vec<u8>>, AccessError> {
    let first = files.first().cloned();
    let read = tokio::task::spawn_blocking(move || files.into_iter().map(read).collect());
    read.await.unwrap_or_else(|ended| match first {
        Some(NamedFile { setting, path }) => {
            Err(AccessError::Unreadable { setting, file: path, cause: ended.to_string() })
        }
        None => Ok(Vec::new()),
    })
}

fn read(NamedFile { setting, path }: NamedFile) -> Result<Vec<u8>, AccessError> {
    let mut bytes = Vec::new();
    let cause = match File::open(&path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)) {
        Ok(_) if bytes.len() as u64 <= MAX_FILE_BYTES => return Ok(bytes),
        Ok(_) => "it has more than 1 MiB".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(AccessError::Unreadable { setting, file: path, cause })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn each_new_content_is_tried_once_and_one_that_is_of_no_use_changes_nothing() {
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
        let fresh = Fresh::read("a number", vec![file], make).await.unwrap();
        for (contents, current, tries) in
            [(Some("1"), 1, 1), (Some("x"), 1, 2), (None, 1, 2), (Some("x"), 1, 3), (Some("2"), 2, 4)]
        {
            match contents {
                Some(contents) => std::fs::write(&path, contents).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            for _ in 0..2 {
                fresh.look().await;
                let found = (*fresh.current(), tried.load(Ordering::Relaxed));
                assert_eq!(found, (current, tries), "{contents:?}");
            }
        }
    }
}
