//! The file and its identity: opened so that it can be trusted, and looked for where it has to be.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use redb::{Builder, Database, DatabaseError, StorageError};

use super::super::error::OpenError;

/// The file's name in its directory.
const FILE_NAME: &str = "tollgate.redb";

/// Pages kept in memory. The records of the teams that are active on one machine are far smaller.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Where the file is, and which it is. What is written to a file that was removed is gone with this process, though every
/// write to it goes well.
#[derive(Clone, Debug)]
pub(super) struct FileIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// Of the file that is there now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Whether this very file is still there.
    pub(super) fn is_kept(&self) -> bool {
        Self::of(&self.path).is_ok_and(|now| (now.device, now.inode) == (self.device, self.inode))
    }

    /// Opens this very file again. Another one in its identity, or a new one, would begin the file anew.
    pub(super) fn reopen(&self) -> Result<Database, OpenError> {
        if !self.is_kept() {
            return Err(OpenError::new(self.missing()));
        }
        builder().open(&self.path).map_err(|error| refusal(&self.path, error))
    }

    /// What to tell whoever runs the sidecar.
    pub(super) fn missing(&self) -> String {
        format!(
            "{} was removed or replaced while it was open. Put it back, or restart on a backup.",
            self.path.display()
        )
    }
}

/// Opens the file in this directory; both are made if they are missing.
pub(super) fn open(directory: &Path) -> Result<(Database, FileIdentity), OpenError> {
    make_directory(directory).map_err(|error| {
        OpenError::because(format!("The directory {} could not be made: {error}.", directory.display()), error)
    })?;
    let path = directory.join(FILE_NAME);
    let opened = open_at(&path, directory).map_err(|error| refusal(&path, error))?;
    let identity = FileIdentity::of(&path).map_err(|error| refusal(&path, error.into()))?;
    Ok((opened, identity))
}

fn open_at(path: &Path, directory: &Path) -> Result<Database, DatabaseError> {
    let found = fs::metadata(path);
    if found.as_ref().is_ok_and(|found| found.len() == 0) {
        // Taken for a new one, it would begin file anew that there were before.
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is empty").into());
    }
    let is_new = found.is_err();
    let opened = builder().create(path)?;
    if is_new {
        // The file's name is in the directory, which has to be on disk as well as what is in the file.
        sync_directory(directory)?;
    }
    Ok(opened)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // Without the integrity check, a file that something else has changed could be trusted; it is read whole for that.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes a directory and those above it that are missing, so that they are there after the machine lost its power.
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
        // Some file systems keep no directories of their own to be synced.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

fn refusal(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenError::because(
            format!(
                "{path} is in use by another process: a directory serves one sidecar; give each its own, or use Redis."
            ),
            error,
        ),
        DatabaseError::UpgradeRequired(_) => {
            OpenError::because(format!("{path} was written in an older file format, which is not read."), error)
        }
        DatabaseError::Storage(StorageError::Io(ref cause)) if !is_damage(cause) => {
            OpenError::because(format!("{path} could not be opened: {cause}."), error)
        }
        _ => OpenError::because(
            format!(
                "{path} is damaged, or no store of Tollgate: restore it from a backup, or move it away to begin anew."
            ),
            error,
        ),
    }
}

/// Whether the file ends too early, or has what it should not.
fn is_damage(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_in_its_place_is_not_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (database, identity) = open(directory.path()).unwrap();
        drop(database);
        drop(identity.reopen().unwrap());
        let copy = directory.path().join("copy");
        fs::copy(&identity.path, &copy).unwrap();
        fs::rename(&copy, &identity.path).unwrap();
        let refused = identity.reopen().err().map(|error| error.to_string());
        assert_eq!(refused, Some(identity.missing()));
    }
}
