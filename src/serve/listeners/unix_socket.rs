//! A Unix domain socket that only this user can open. A stale socket is replaced. A live one is not, even if two sidecars start
//! at once.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::{
        fd::AsFd as _,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};

use crate::{address::ListenAddress, serve::error::ListenError};

/// How long the owner of a socket has to accept a connection before it counts as alive but busy.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum length of a socket's path: the system has room for 108 bytes, and the last one is NUL.
const MAX_PATH_BYTES: usize = 107;

/// Maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Maximum number of attempts to lock a file that its last owner may remove meanwhile.
const LOCK_ATTEMPTS: u32 = 16;

/// A socket with a listener. When it is dropped, the fields go in this order: the listener, the socket's file, the lock.
#[derive(Debug)]
pub(in crate::serve) struct UnixSocket {
    listener: UnixListener,
    _file: SocketFile,
    _lock: PathLock,
}

impl UnixSocket {
    pub(in crate::serve) async fn bind(address: &ListenAddress, path: &Path) -> Result<Self, ListenError> {
        let refused = |source| ListenError::refused(address, source);
        if path.as_os_str().len() > MAX_PATH_BYTES {
            return Err(ListenError::PathTooLong { address: address.clone(), longest: MAX_PATH_BYTES });
        }
        let lock = PathLock::take(path).map_err(refused)?.ok_or_else(|| ListenError::Taken(address.clone()))?;
        remove_stale(address, path).await?;
        let (listener, file) = listen_privately(path).map_err(refused)?;
        Ok(Self { listener, _file: file, _lock: lock })
    }

    pub(in crate::serve) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

/// Keeps other sidecars from a path: a locked file beside it. The system releases the lock of a process that crashed. The file
/// that remains has no effect.
#[derive(Debug)]
struct PathLock {
    path: PathBuf,
    _file: File,
}

impl PathLock {
    /// Takes the lock, or returns `None` if another process has it.
    fn take(socket: &Path) -> io::Result<Option<Self>> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        for _ in 0..LOCK_ATTEMPTS {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The last owner may have removed the file after it was opened here. Then the lock protects nothing.
            if device_and_inode(&path)
                .is_ok_and(|now| file.metadata().is_ok_and(|ours| now == (ours.dev(), ours.ino())))
            {
                return Ok(Some(Self { path, _file: file }));
            }
        }
        Ok(None)
    }
}

impl Drop for PathLock {
    fn drop(&mut self) {
        // Removed while it is still locked, so no other process owns it. If that fails, the next owner locks the file that is
        // there.
        let _ = fs::remove_file(&self.path);
    }
}

/// The file of a socket, which is removed with its listener.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device_and_inode: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), device_and_inode: device_and_inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own file there, which must stay.
        let is_ours = device_and_inode(&self.path).is_ok_and(|now| now == self.device_and_inode);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

fn device_and_inode(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Frees the path: removes a socket without a listener, and fails for anything else. The lock keeps out other sidecars. Any other
/// listener is found by connecting to it.
async fn remove_stale(address: &ListenAddress, path: &Path) -> Result<(), ListenError> {
    let refused = |source| ListenError::refused(address, source);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ListenError::NotASocket(address.clone())),
        Ok(_) => {}
    }
    match timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(refused),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(ListenError::Taken(address.clone())),
    }
}

/// Listens on a socket that only this user can connect to, from the first moment on.
fn listen_privately(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = bind_privately(path)?;
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, private())?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Binds a socket. Linux gives the file the permissions that the socket had before.
fn bind_privately(path: &Path) -> io::Result<tokio::net::UnixSocket> {
    let socket = tokio::net::UnixSocket::new_stream()?;
    // Other systems refuse this. There, the file has its permissions a moment later.
    let _ = File::from(socket.as_fd().try_clone_to_owned()?).set_permissions(private());
    socket.bind(path)?;
    Ok(socket)
}

fn private() -> Permissions {
    Permissions::from_mode(0o600)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    async fn bind(path: &Path) -> Result<UnixSocket, ListenError> {
        UnixSocket::bind(&ListenAddress::Unix(path.to_owned()), path).await
    }

    fn names(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_socket_is_private_and_is_removed_with_its_listener() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(&directory), ["s", "s.lock"]);
        drop(socket);
        assert_eq!(names(&directory), [""; 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_is_private_from_the_first_moment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _runtime = runtime.enter();
        let _socket = bind_privately(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_never() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let live = bind(&path).await.unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
        drop(live);
        // A listener that is not a sidecar has no lock.
        let _foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_concurrent_starts_one_gets_a_stale_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        for round in 0..50 {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let starting: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    tokio::spawn(async move { bind(&path).await })
                })
                .collect();
            let mut live = Vec::new();
            for one in starting {
                live.extend(one.await.unwrap());
            }
            assert_eq!(live.len(), 1, "in round {round}");
            let (connected, accepted) = tokio::join!(UnixStream::connect(&path), live[0].accept());
            let _ends = (connected.unwrap(), accepted.unwrap());
        }
    }

    #[tokio::test]
    async fn a_file_that_replaced_the_socket_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (path, foreign) = (directory.path().join("s"), directory.path().join("foreign"));
        let socket = bind(&path).await.unwrap();
        fs::write(&foreign, "precious").unwrap();
        fs::rename(&foreign, &path).unwrap();
        drop(socket);
        assert_eq!(names(&directory), ["s"]);
    }

    /// Only one process at a time holds the lock of a path, although each owner removes the file that it locked.
    #[test]
    fn a_path_is_locked_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (path, holders) = (directory.path().join("s"), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        let Some(_lock) = PathLock::take(&path).unwrap() else { continue };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        fs::write(&path, "precious").unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert!(matches!(refused, ListenError::NotASocket(_)), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(names(&directory), ["s"]);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let room = MAX_PATH_BYTES - directory.path().as_os_str().len() - 1;
        bind(&directory.path().join("s".repeat(room))).await.unwrap();
        let refused = bind(&directory.path().join("s".repeat(room + 1))).await.unwrap_err();
        assert!(matches!(refused, ListenError::PathTooLong { longest: 107, .. }), "{refused}");
    }
}
