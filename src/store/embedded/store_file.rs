//! The file of an embedded store: opening it, and checking that it is still the file at its path.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, StorageError};

use super::super::error::OpenError;

/// Name of the file in its directory.
const FILE_NAME: &str = "tollgate.redb";

/// Size of the page cache, in bytes. The records of the teams that are active on one machine are far smaller.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The path and the inode of the open file. Writes to a file that was removed succeed, but they are lost when the
/// process ends; so the path is compared with the open file before each answer.
#[derive(Clone, Debug)]
pub(super) struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Returns the identity of the file that is at the path now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Returns whether this file is still at its path.
    pub(super) fn is_at_path(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| (now.device, now.inode) == (self.device, self.inode))
    }

    /// Opens this file again. Refuses another file at its path, which would have other contents.
    pub(super) fn reopen(&self) -> Result<Database, OpenError> {
        if !self.is_at_path() {
            return Err(OpenError::new(self.missing_advice()));
        }
        builder().open(&self.path).map_err(|error| refusal(&self.path, error))
    }

    /// Returns the error text for the operator if the file is missing.
    pub(super) fn missing_advice(&self) -> String {
        format!(
            "{} was removed or replaced while it was open. Put it back, or restart the sidecar with a backup.",
            self.path.display()
        )
    }
}

/// Opens the file in this directory. Creates both if they do not exist.
pub(super) fn open(directory: &Path) -> Result<(Database, FileIdentity), OpenError> {
    make_directory(directory).map_err(|error| {
        OpenError::because(format!("The directory {} could not be created: {error}.", directory.display()), error)
    })?;
    let path = directory.join(FILE_NAME);
    let opened = open_at(&path, directory).map_err(|error| refusal(&path, error))?;
    let identity = FileIdentity::of(&path).map_err(|error| refusal(&path, error.into()))?;
    Ok((opened, identity))
}

fn open_at(path: &Path, directory: &Path) -> Result<Database, DatabaseError> {
    let found = fs::metadata(path);
    if found.as_ref().is_ok_and(|found| found.len() == 0) {
        // redb would take an empty file for a new one, and all earlier records would be forgotten.
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty").into());
    }
    let is_new = found.is_err();
    let opened = builder().create(path)?;
    if is_new {
        // The directory contains the file's name, and has to be on disk too.
        sync_directory(directory)?;
    }
    Ok(opened)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // The check reads the whole file. Without it, a file that another program has changed could be trusted.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Creates a directory and its missing parents, and flushes them to disk, so that they survive a power failure.
fn make_directory(directory: &Path) -> io::Result<()> {
    let missing: Vec<_> = directory.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync_directory(above)?;
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems do not support flushing a directory.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn refusal(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::because(
            format!("{path} is in use by another process. Give each sidecar its own directory, or use Redis."),
            error,
        ),
        DatabaseError::UpgradeRequired(_) => {
            OpenError::because(format!("{path} has an older file format, which this version cannot read."), error)
        }
        DatabaseError::Storage(StorageError::Io(ref cause)) if !is_damage(cause) => {
            OpenError::because(format!("{path} could not be opened: {cause}."), error)
        }
        _ => OpenError::because(
            format!(
                "{path} is damaged, or is not a file of Tollgate. Restore it from a backup, or move it away to start with an empty store."
            ),
            error,
        ),
    }
}

/// Returns whether the error means that the file ends too early or has invalid contents.
fn is_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_at_its_path_is_not_reopened() {
        let directory = tempfile::tempdir().unwrap();
        let (database, identity) = open(directory.path()).unwrap();
        drop(database);
        drop(identity.reopen().unwrap());
        let copy = directory.path().join("copy");
        fs::copy(&identity.path, &copy).unwrap();
        fs::rename(&copy, &identity.path).unwrap();
        let refused = identity.reopen().err().map(|error| error.to_string());
        assert_eq!(refused, Some(identity.missing_advice()));
    }
}
