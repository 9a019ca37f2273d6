//! A socket in the file system, for this user only. A stale one is replaced; a live one never, though two sidecars start at
//! once.

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

/// How long the owner of a socket has to take a connection before it counts as alive but busy.
const PROBE: Duration = Duration::from_secs(1);

/// The longest path of a socket: the system has room for 108 bytes, the last one of which is NUL.
const LONGEST_PATH: usize = 107;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// How often to try again to lock a file that its owner removed meanwhile.
const LOCK_ATTEMPTS: u32 = 16;

/// A socket that is listened on. It, and what keeps others from it, go in this order.
#[derive(Debug)]
pub(in crate::serve) struct UnixSocket {
    listener: UnixListener,
    _file: SocketFile,
    _lock: PathLock,
}

impl UnixSocket {
    pub(in crate::serve) async fn bind(address: &ListenAddress, path: &Path) -> Result<Self, ListenError> {
        let refused = |source| ListenError::refused(address, source);
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(ListenError::PathTooLong { address: address.clone(), longest: LONGEST_PATH });
        }
        let lock = PathLock::take(path).map_err(refused)?.ok_or_else(|| ListenError::Taken(address.clone()))?;
        make_way(address, path).await?;
        let (listener, file) = listen_privately(path).map_err(refused)?;
        Ok(Self { listener, _file: file, _lock: lock })
    }

    pub(in crate::serve) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

/// Keeps other sidecars from a path: a locked file beside it. The system ends the lock of a process that crashed; the file
/// that it leaves is of no consequence.
#[derive(Debug)]
struct PathLock {
    path: PathBuf,
    _file: File,
}

impl PathLock {
    /// `None` if another one has it.
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
            // Its last owner may have removed the file since it was opened here: then it keeps nobody from anything.
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
        // Removed while it is still locked, so that it is ours. If that fails, the next owner locks it as it is.
        let _ = fs::remove_file(&self.path);
    }
}

/// A socket's file, removed with its listener.
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
        // Somebody may have put another one in its place, which is not ours to remove.
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

/// Sees to it that nothing is at the path: a socket that nobody listens on is removed, anything else never. The lock keeps
/// out sidecars; what else listens there is found by asking it.
async fn make_way(address: &ListenAddress, path: &Path) -> Result<(), ListenError> {
    let refused = |source| ListenError::refused(address, source);
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ListenError::NotASocket(address.clone())),
        Ok(_) => {}
    }
    match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(refused),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(ListenError::Taken(address.clone())),
    }
}

/// Listens on a socket that only this user can ever connect to.
fn listen_privately(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = bind_privately(path)?;
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, private())?;
    Ok((socket.listen(BACKLOG)?, file))
}

/// Binds a socket: Linux gives the file the permissions that the socket had before.
fn bind_privately(path: &Path) -> io::Result<tokio::net::UnixSocket> {
    let socket = tokio::net::UnixSocket::new_stream()?;
    // Other systems refuse this, and are left with the moment until the file has them.
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
    async fn a_socket_is_for_this_user_only_and_goes_with_its_listener() {
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
    fn a_socket_is_private_from_its_first_moment() {
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
        // One that is not a sidecar's has no lock.
        let _foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_that_start_at_once_on_a_stale_socket_one_has_it() {
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
    async fn what_somebody_put_in_the_place_of_a_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (path, foreign) = (directory.path().join("s"), directory.path().join("foreign"));
        let socket = bind(&path).await.unwrap();
        fs::write(&foreign, "precious").unwrap();
        fs::rename(&foreign, &path).unwrap();
        drop(socket);
        assert_eq!(names(&directory), ["s"]);
    }

    #[test]
    fn a_path_is_locked_by_one_at_a_time_though_each_removes_the_file_that_it_locked() {
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
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        fs::write(&path, "precious").unwrap();
        let refused = bind(&path).await.unwrap_err();
        assert!(matches!(refused, ListenError::NotASocket(_)), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert_eq!(names(&directory), ["s"]);
    }

    #[tokio::test]
    async fn a_path_is_as_long_as_the_system_takes_and_a_longer_one_is_told_as_such() {
        let directory = tempfile::tempdir().unwrap();
        let room = LONGEST_PATH - directory.path().as_os_str().len() - 1;
        bind(&directory.path().join("s".repeat(room))).await.unwrap();
        let refused = bind(&directory.path().join("s".repeat(room + 1))).await.unwrap_err();
        assert!(matches!(refused, ListenError::PathTooLong { longest: 107, .. }), "{refused}");
    }
}
