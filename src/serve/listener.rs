//! A bound listener, on a port or a socket, as a stream of connections.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    net::{TcpListener, UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{ListenAddress, ListenError, connection::Connection};

/// How long the owner of a socket has to take a connection before it counts as alive but busy.
const PROBE: Duration = Duration::from_secs(1);

/// How long to wait before accepting again when the system could not, as when this process has no file descriptor left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A bound listener.
#[derive(Debug)]
pub(super) struct Listener {
    address: ListenAddress,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

impl Listener {
    pub(super) async fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        let refused = |source| ListenError::refused(address, source);
        match address {
            ListenAddress::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port)).await.map_err(refused)?;
                let bound = listener.local_addr().map_err(refused)?;
                Ok(Self { address: bound.into(), socket: Socket::Tcp(listener) })
            }
            ListenAddress::Unix(path) => {
                make_way(address, path).await?;
                let (listener, _file) = bind_privately(path).map_err(refused)?;
                Ok(Self { address: address.clone(), socket: Socket::Unix { listener, _file } })
            }
        }
    }

    /// Where it listens: with the port that was bound, if any port would do.
    pub(super) fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Its connections, which all end with `everything`.
    pub(super) fn connections(
        self,
        everything: CancellationToken,
    ) -> impl Stream<Item = io::Result<Connection>> + Send {
        stream::unfold((self, everything), |(listener, everything)| async move {
            let connection = listener.accept(&everything).await;
            Some((Ok(connection), (listener, everything)))
        })
    }

    async fn accept(&self, everything: &CancellationToken) -> Connection {
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(listener) => {
                    listener.accept().await.map(|(stream, peer)| Connection::tcp(stream, peer, everything))
                }
                Socket::Unix { listener, .. } => {
                    listener.accept().await.map(|(stream, _)| Connection::unix(stream, everything))
                }
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
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

/// Sees to it that nothing at the path may not be replaced: a socket that nobody listens on may be, a live one never.
async fn make_way(address: &ListenAddress, path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(ListenError::refused(address, error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(ListenError::NotASocket(address.clone())),
        Ok(_) => {}
    }
    match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(ListenError::Taken(address.clone())),
    }
}

/// Binds a socket that only this user can ever connect to: it is born in a directory that nobody else may enter, and moved to
/// its path once its own permissions are set.
fn bind_privately(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let nursery = parent.join(format!(".{}", &unique[..8]));
    fs::DirBuilder::new().mode(0o700).create(&nursery)?;
    let bound = bind_and_move(&nursery.join("s"), path);
    let removed = fs::remove_dir_all(&nursery);
    let bound = bound?;
    removed?;
    Ok(bound)
}

fn bind_and_move(birthplace: &Path, path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let listener = UnixListener::bind(birthplace)?;
    fs::set_permissions(birthplace, fs::Permissions::from_mode(0o600))?;
    fs::rename(birthplace, path)?;
    Ok((listener, SocketFile::at(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unix(directory: &tempfile::TempDir) -> ListenAddress {
        ListenAddress::Unix(directory.path().join("t.sock"))
    }

    fn path(address: &ListenAddress) -> &Path {
        match address {
            ListenAddress::Unix(path) => path,
            ListenAddress::Tcp { .. } => panic!("{address} has no path"),
        }
    }

    #[tokio::test]
    async fn a_socket_is_for_its_user_only_and_goes_with_its_listener() {
        let directory = tempfile::tempdir().unwrap();
        let address = unix(&directory);
        let listener = Listener::bind(&address).await.unwrap();
        let mode = fs::metadata(path(&address)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only the socket is there");
        drop(listener);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_never() {
        let directory = tempfile::tempdir().unwrap();
        let address = unix(&directory);
        drop(std::os::unix::net::UnixListener::bind(path(&address)).unwrap());
        let live = Listener::bind(&address).await.unwrap();
        let refused = Listener::bind(&address).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
        drop(live);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let address = unix(&directory);
        fs::write(path(&address), "precious").unwrap();
        let refused = Listener::bind(&address).await.unwrap_err();
        assert!(matches!(refused, ListenError::NotASocket(_)), "{refused}");
        assert_eq!(fs::read_to_string(path(&address)).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_taken_port_is_told_as_such() {
        let first = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let refused = Listener::bind(first.address()).await.unwrap_err();
        assert!(matches!(refused, ListenError::Taken(_)), "{refused}");
    }
}
