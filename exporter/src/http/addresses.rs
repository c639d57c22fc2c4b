//! Where HTTP is served: addresses, Unix sockets, and sockets that systemd opened for us.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, UnixListener};

use crate::Error;

/// Who may connect to a `unix:` address: our user and our group.
const GROUP: u32 = 0o660;
/// Whoever is on this host; what they may read, their uid says.
const EVERYBODY: u32 = 0o666;

/// Somewhere to serve HTTP, as `--web.listen-address` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, of mode 0660.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    /// As exporters write it: `:9100` is every address. `unix:/path` is a socket there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            let fits = path.is_absolute() && path.file_name().is_some();
            return fits
                .then_some(ListenAddress::Unix(path))
                .ok_or("not unix:/PATH, as in unix:/run/portledger/web.sock");
        }
        let full = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
        let address = full.parse().map_err(
            |_| "not ADDRESS:PORT, as in 127.0.0.1:10433, [::1]:10433, localhost:10433 or :10433, nor unix:/PATH of a socket",
        );
        address.map(ListenAddress::Tcp)
    }
}

impl ListenAddress {
    /// The same, or a name and a port: of the addresses that the name has now the first of IPv4, else the first, as Go's
    /// `net.Listen` takes it. It may wait for name servers.
    pub fn look_up(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<ListenAddress>();
        let Some((name, port)) = name_and_port(text).filter(|_| parsed.is_err()) else {
            return parsed.map_err(str::to_owned);
        };
        let found = (name, port).to_socket_addrs().map_err(|error| {
            format!(
                "`{name}` has no address: {error}: write an address, or mend /etc/hosts or the name server"
            )
        })?;
        let address = preferred(found).ok_or_else(|| format!("`{name}` has no address: write one"))?;
        Ok(ListenAddress::Tcp(address))
    }
}

/// `None` for what is no name of a host (RFC 1123, section 2.1) with a port.
fn name_and_port(text: &str) -> Option<(&str, u16)> {
    let (name, port) = text.rsplit_once(':')?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = name.bytes().all(is_plain) && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    Some((name, port.parse().ok().filter(|_| fits)?))
}

fn preferred(addresses: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(formatter, "{address}"),
            ListenAddress::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A socket that somebody opened before we began.
#[derive(Debug)]
pub struct Inherited {
    socket: InheritedSocket,
    /// What `FileDescriptorName=` calls it.
    name: Option<String>,
}

#[derive(Debug)]
enum InheritedSocket {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

/// Why a socket of systemd's cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum InheritedError {
    #[error("LISTEN_FDS is {0}, and at most 64 sockets are taken")]
    TooMany(String),
    #[error(
        "descriptor {0} of LISTEN_FDS is no socket that waits for streams: {1}: use ListenStream= in the socket unit"
    )]
    NoListener(usize, io::Error),
}

const MAX_INHERITED: usize = 64;
const FIRST_INHERITED: usize = 3;

/// Takes the sockets that sd_listen_fds(3) tells of, also where nobody wants them: what is started later must not have
/// them. Call it before anything is started.
pub fn take_inherited() -> Result<Vec<Inherited>, InheritedError> {
    // Without the pid nobody knows for whom they are meant.
    let (Ok(_), Ok(count)) = (std::env::var("LISTEN_PID"), std::env::var("LISTEN_FDS")) else {
        return Ok(Vec::new());
    };
    if count.parse::<usize>().is_ok_and(|count| count > MAX_INHERITED) {
        return Err(InheritedError::TooMany(count));
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(|name| Some(name.to_owned()).filter(|name| !name.is_empty()));
    let mut passed = listenfd::ListenFd::from_env();
    let mut taken = Vec::new();
    for place in 0..passed.len() {
        let socket = take(&mut passed, place)
            .map_err(|error| InheritedError::NoListener(place.saturating_add(FIRST_INHERITED), error))?;
        taken.push(Inherited { socket, name: names.next().flatten() });
    }
    Ok(taken)
}

fn take(passed: &mut listenfd::ListenFd, place: usize) -> io::Result<InheritedSocket> {
    let unix = passed.take_unix_listener(place).ok().flatten().map(InheritedSocket::Unix);
    let socket = match unix {
        Some(unix) => unix,
        None => {
            let tcp = passed.take_tcp_listener(place)?;
            InheritedSocket::Tcp(tcp.ok_or_else(|| io::Error::other("it was taken before"))?)
        }
    };
    let listens = match &socket {
        InheritedSocket::Tcp(socket) => rustix::net::sockopt::socket_acceptconn(socket.as_fd()),
        InheritedSocket::Unix(socket) => rustix::net::sockopt::socket_acceptconn(socket.as_fd()),
    };
    if listens? { Ok(socket) } else { Err(io::Error::other("it does not listen")) }
}

/// One socket on which connections come in.
pub(crate) struct Door {
    pub(super) socket: Socket,
    /// What it is called in the log.
    pub(crate) name: String,
    /// Whoever comes in here may read what their uid lets them.
    pub(super) is_local_api: bool,
}

pub(super) enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: Option<SocketFile> },
}

impl Door {
    /// As people are told of it.
    pub(crate) fn named(&self, has_tls: bool) -> String {
        match self.address() {
            Some(address) if has_tls => format!("https://{address}/"),
            _ => self.name.clone(),
        }
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    fn tcp(listener: TcpListener) -> Self {
        let name = listener.local_addr().map_or_else(|_| "tcp".to_owned(), |at| format!("http://{at}/"));
        Door { socket: Socket::Tcp(listener), name, is_local_api: false }
    }

    /// Opens the socket through which users of this host ask.
    pub(crate) fn local_api(path: &Path) -> io::Result<Self> {
        let door = bind_unix(path, EVERYBODY)?;
        Ok(Door { is_local_api: true, ..door })
    }

    fn inherited(inherited: Inherited) -> io::Result<Self> {
        // By this name a unit tells the socket of the local API from others.
        let is_api = inherited.name.as_deref() == Some("api");
        match inherited.socket {
            InheritedSocket::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Ok(Door::tcp(TcpListener::from_std(socket)?))
            }
            InheritedSocket::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let listener = UnixListener::from_std(socket)?;
                let path = listener.local_addr().ok().and_then(|at| at.as_pathname().map(Path::to_owned));
                let name = path
                    .map_or_else(|| "a socket without a path".to_owned(), |path| path.display().to_string());
                let socket = Socket::Unix { listener, _file: None };
                Ok(Door { socket, name: format!("unix:{name}"), is_local_api: is_api })
            }
        }
    }
}

/// Opens every address, or none and says which could not be had.
pub(crate) async fn bind(addresses: &[ListenAddress]) -> Result<Vec<Door>, Error> {
    let mut doors = Vec::new();
    for address in addresses {
        let bound = match address {
            ListenAddress::Tcp(at) => TcpListener::bind(at).await.map(Door::tcp),
            ListenAddress::Unix(path) => bind_unix(path, GROUP),
        };
        doors.push(bound.map_err(|error| Error::Listen { address: address.clone(), error })?);
    }
    Ok(doors)
}

/// Takes over what systemd opened.
pub(crate) fn adopt(inherited: Vec<Inherited>) -> io::Result<Vec<Door>> {
    inherited.into_iter().map(Door::inherited).collect()
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<Door> {
    clear(path)?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile::at(path)?;
    // By our umask nobody else could write, that is connect, before.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    let socket = Socket::Unix { listener, _file: Some(file) };
    Ok(Door { socket, name: format!("unix:{}", path.display()), is_local_api: false })
}

/// Removes a socket on which nobody listens any more, and nothing else.
fn clear(path: &Path) -> io::Result<()> {
    let meta = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    if !meta.file_type().is_socket() {
        let what = "there is something that is no socket: remove it, or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a socket of ours. It goes with the socket, unless another has taken its place.
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let meta = std::fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.dev(), meta.ino()) == (self.device, self.inode));
        if is_ours {
            // One that stays is found to be stale by the next.
            std::fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_other_exporters_read_them() {
        let tcp = |text: &str| Ok(ListenAddress::Tcp(text.parse().unwrap()));
        assert_eq!("127.0.0.1:10433".parse(), tcp("127.0.0.1:10433"));
        assert_eq!(":9100".parse(), tcp("[::]:9100"));
        assert_eq!("[::1]:9100".parse(), tcp("[::1]:9100"));
        assert_eq!("unix:/run/a.sock".parse(), Ok(ListenAddress::Unix("/run/a.sock".into())));
        for text in
            ["", "9100", "localhost:1", "127.0.0.1", "unix:", "unix:a.sock", "unix:/", "127.0.0.1:70000"]
        {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_looked_up_and_ipv4_goes_before() {
        assert_eq!(
            ListenAddress::look_up("localhost:10433"),
            Ok(ListenAddress::Tcp("127.0.0.1:10433".parse().unwrap()))
        );
        assert_eq!(ListenAddress::look_up(":9100"), ":9100".parse().map_err(str::to_owned));
        for text in
            ["", "9100", "localhost", "localhost:", "127.0.0.1", "127.0.0.1:70000", "a b:1", "1.2.3:1"]
        {
            let error = ListenAddress::look_up(text).unwrap_err();
            assert!(error.starts_with("not ADDRESS:PORT"), "{text}: {error}");
        }
        let error = ListenAddress::look_up("nowhere.invalid:1").unwrap_err();
        assert!(error.starts_with("`nowhere.invalid` has no address: "), "{error}");
        let both = ["[::1]:1", "127.0.0.2:1", "127.0.0.3:1"].map(|text| text.parse().unwrap());
        assert_eq!(preferred(both.into_iter()), Some(both[1]));
        assert_eq!(preferred(both[..1].iter().copied()), Some(both[0]));
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_stale_socket_gives_way_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let runtime = runtime();
        let _entered = runtime.enter();
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let door = bind_unix(&path, GROUP).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, GROUP);
        assert_eq!(bind_unix(&path, GROUP).err().unwrap().kind(), io::ErrorKind::AddrInUse);
        drop(door);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind_unix(&path, GROUP).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let link = folder.path().join("link.sock");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(bind_unix(&link, GROUP).is_err());
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn a_socket_that_took_the_place_of_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let runtime = runtime();
        let _entered = runtime.enter();
        let door = bind_unix(&path, GROUP).unwrap();
        let other = folder.path().join("other.sock");
        let _other = StdUnixListener::bind(&other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        drop(door);
        assert!(path.exists());
    }
}
