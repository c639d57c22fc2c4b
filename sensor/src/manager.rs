//! What the service manager is told, sd_notify(3).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use tracing::warn;

/// The manager that started this process, and its socket, connected while that is still allowed.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    /// After so long without a word it starts this process again.
    patience: Option<Duration>,
    told: Instant,
}

impl Manager {
    /// `None` where none asks to be told.
    pub(crate) fn of_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        Manager::at(&name, sd_notify::watchdog_enabled())
            .map_err(|error| {
                let name = inventory::RawText::new(name.as_bytes()).escaped();
                warn!("the service manager cannot be told how it goes: {name}: {error}");
            })
            .ok()
    }

    /// A name that begins with `@` is one of the abstract namespace.
    pub(crate) fn at(name: &OsStr, patience: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect_addr(&address)?;
        Ok(Manager { socket, patience, told: Instant::now() })
    }

    /// Whoever comes is told from now on.
    pub(crate) fn tell_ready(&mut self) {
        self.tell("READY=1\n");
    }

    /// When it is next to be told that this process goes on: three times in its patience.
    pub(crate) fn next(&self) -> Option<Instant> {
        Some(self.told + self.patience? / 3)
    }

    /// Tells it where it is time.
    pub(crate) fn keep_alive(&mut self) {
        if self.next().is_some_and(|next| Instant::now() >= next) {
            self.tell("WATCHDOG=1\n");
        }
    }

    /// Where its queue is full the next word has to do: looking goes before telling.
    fn tell(&mut self, word: &str) {
        self.told = Instant::now();
        match self.socket.send(word.as_bytes()) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => warn!("the service manager cannot be told how it goes: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> Option<String> {
        let mut word = [0; 64];
        socket.set_nonblocking(true).unwrap();
        socket.recv(&mut word).ok().map(|length| String::from_utf8(word[..length].to_vec()).unwrap())
    }

    #[test]
    fn is_told_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let unheard = format!("portledger-notify-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&unheard).unwrap();
        let sockets = [UnixDatagram::bind(&path).unwrap(), UnixDatagram::bind_addr(&abstract_name).unwrap()];
        let names = [path.into_os_string(), format!("@{unheard}").into()];
        for (socket, name) in sockets.iter().zip(&names) {
            Manager::at(name, None).unwrap().tell_ready();
            assert_eq!(heard(socket).as_deref(), Some("READY=1\n"));
        }
    }

    #[test]
    fn hears_that_it_goes_on_when_it_is_time_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut manager = Manager::at(path.as_os_str(), Some(Duration::from_secs(3))).unwrap();
        manager.keep_alive();
        assert_eq!(heard(&socket), None);
        manager.told = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        manager.keep_alive();
        assert_eq!(heard(&socket).as_deref(), Some("WATCHDOG=1\n"));
        manager.keep_alive();
        assert_eq!(heard(&socket), None);
    }

    #[test]
    fn a_manager_that_takes_nothing_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let mut manager = Manager::at(path.as_os_str(), None).unwrap();
        (0..10_000).for_each(|_| manager.tell_ready());
    }
}
