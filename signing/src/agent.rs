use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::PublicKey;
use crate::wire::{Wire, put_string};

/// An SSH agent (draft-ietf-sshm-ssh-agent) by its socket. Each question is a connection of its own.
#[derive(Debug)]
pub(crate) struct Agent(PathBuf);

/// Why an agent did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nobody listens on its socket, or we may not connect.
    #[error(
        "no SSH agent can be reached at {path:?}: {source}; SSH_AUTH_SOCK may be that of a session that is over"
    )]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It said nothing in time.
    #[error(
        "the SSH agent at {path:?} gave no answer in {seconds} s: is it waiting for a touch or a confirmation?"
    )]
    Silent {
        /// Its socket.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// It closed the connection, or that broke.
    #[error("the SSH agent went away before it answered: {0}")]
    Gone(#[source] io::Error),
    /// It said no.
    #[error("the SSH agent refused: it may be locked, or the touch or the confirmation did not come")]
    Refused,
    /// Its answer is none.
    #[error("the SSH agent gave an answer that cannot be read: {0}")]
    Garbage(&'static str),
}

/// To list keys, which no one need confirm.
const LISTING: Duration = Duration::from_secs(5);
/// To sign, for which a hardware key waits for a touch.
const SIGNING: Duration = Duration::from_secs(60);
/// Of an answer, in bytes. OpenSSH's agent gives no longer one.
const MAX_ANSWER: usize = 256 << 10;
/// OpenSSH believes an agent no more.
const MAX_KEYS: u32 = 2048;

const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// Of RSA keys SHA-512 is wanted; others take no notice.
const RSA_SHA2_512: u32 = 4;

impl Agent {
    pub(crate) fn new(path: &Path) -> Self {
        Agent(path.to_owned())
    }

    /// The keys it holds, as it orders them. Certificates and what is of no known type are left out.
    pub(crate) fn keys(&self) -> Result<Vec<PublicKey>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES], LISTING)?;
        let ends = AgentError::Garbage("its list of keys ends early");
        let Some(mut list) = answer.strip_prefix(&[IDENTITIES_ANSWER]).map(Wire) else {
            return Err(AgentError::Garbage("it is no list of keys"));
        };
        let Some(count) = list.uint32() else { return Err(ends) };
        if count > MAX_KEYS {
            return Err(AgentError::Garbage("it says to hold more than 2048 keys"));
        }
        let mut keys = Vec::new();
        for _ in 0..count {
            let (Some(blob), Some(_comment)) = (list.string(), list.string()) else { return Err(ends) };
            keys.extend(PublicKey::from_blob(blob));
        }
        Ok(keys)
    }

    /// What one of its keys makes of these bytes, in the form of RFC 4253, section 6.6.
    pub(crate) fn sign(&self, key: &PublicKey, bytes: &[u8]) -> Result<Vec<u8>, AgentError> {
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, key.blob());
        put_string(&mut request, bytes);
        request.extend(RSA_SHA2_512.to_be_bytes());
        let answer = self.ask(&request, SIGNING)?;
        let mut response = answer.strip_prefix(&[SIGN_RESPONSE]).map(Wire);
        let raw = response.as_mut().and_then(Wire::string);
        raw.map(<[u8]>::to_vec).ok_or(AgentError::Garbage("it is no signature"))
    }

    /// What it answers: one byte of type, and what belongs to it.
    fn ask(&self, request: &[u8], patience: Duration) -> Result<Vec<u8>, AgentError> {
        let deadline = Instant::now() + patience;
        let silent = || AgentError::Silent { path: self.0.clone(), seconds: patience.as_secs() };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => silent(),
            _ => AgentError::Gone(error),
        };
        let mut stream = match self.connect(deadline) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(silent()),
            Err(source) => return Err(AgentError::Unreachable { path: self.0.clone(), source }),
            Ok(stream) => stream,
        };
        let mut message = Vec::new();
        put_string(&mut message, request);
        stream.set_write_timeout(Some(patience)).and_then(|()| stream.write_all(&message)).map_err(failed)?;
        let mut length = [0; 4];
        read_until(&mut stream, &mut length, deadline).map_err(failed)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_ANSWER {
            return Err(AgentError::Garbage("it is longer than 256 KiB"));
        }
        let mut answer = vec![0; length];
        read_until(&mut stream, &mut answer, deadline).map_err(failed)?;
        if answer.first() == Some(&FAILURE) { Err(AgentError::Refused) } else { Ok(answer) }
    }

    /// Where many wait to be accepted already, a connection that blocks would do so without end.
    fn connect(&self, deadline: Instant) -> io::Result<UnixStream> {
        let address = SocketAddrUnix::new(&self.0)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        while let Err(error) = connect(&socket, &address) {
            if error != Errno::AGAIN || Instant::now() >= deadline {
                return Err(error.into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(false)?;
        Ok(stream)
    }
}

/// A peer that sends byte after byte gets no more time for it.
fn read_until(stream: &mut UnixStream, mut into: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !into.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(into) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => into = &mut into[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
