//! One dump from its first datagram to its end, without a socket.

use super::fields::{cut, u16_at, u32_at};
use super::query::Query;
use super::reply;
use crate::collector::Socket;
use crate::protocols::Family;

/// netlink(7).
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;

const NLMSGHDR_LENGTH: usize = 16;

/// What has come of one dump so far.
#[derive(Debug)]
pub(super) struct Dump {
    query: Query,
    port: u32,
    room: usize,
    /// At most `room`.
    pub(super) found: Vec<Socket>,
    /// There were more than there was room for.
    pub(super) full: bool,
    /// The table changed while the kernel walked it, so that sockets may be missing or twice.
    pub(super) torn: bool,
}

/// What a datagram did to a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    More,
    End,
}

/// Why a dump ended before its end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    /// A positive errno of ours: no socket could be had, or what was asked or answered got lost.
    #[error("netlink socket: {}", std::io::Error::from_raw_os_error(*.0))]
    Line(i32),
    /// A positive errno, the kernel's answer.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Refused(i32),
    #[error("the kernel's answer was not understood: {0}")]
    Malformed(&'static str),
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    payload: &'a [u8],
}

impl Dump {
    /// `port` is the netlink port of the socket that asked.
    pub(super) fn new(query: Query, port: u32, room: usize) -> Self {
        Dump { query, port, room, found: Vec::new(), full: false, torn: false }
    }

    /// The same of each family: v4, v6.
    pub(super) fn split(self) -> (Dump, Dump) {
        let (v4, v6) = self.found.into_iter().partition(|socket| socket.address.is_ipv4());
        let of = |family, found| {
            let query = Query { family: Some(family), ..self.query };
            Dump { query, port: self.port, room: self.room, found, full: self.full, torn: self.torn }
        };
        (of(Family::V4, v4), of(Family::V6, v6))
    }

    /// Takes in one datagram from the kernel. Messages that answer another question are passed over.
    pub(super) fn take(&mut self, mut datagram: &[u8]) -> Result<Step, Broken> {
        while !datagram.is_empty() {
            let message = next_message(&mut datagram).map_err(Broken::Malformed)?;
            if message.sequence != self.query.sequence || message.port != self.port {
                continue;
            }
            if self.take_message(&message)? == Step::End {
                return Ok(Step::End);
            }
        }
        Ok(Step::More)
    }

    fn take_message(&mut self, message: &Message<'_>) -> Result<Step, Broken> {
        self.torn |= message.flags & NLM_F_DUMP_INTR != 0;
        match message.kind {
            kind if kind == self.query.kind() => {
                if let Some(socket) = reply::read(message.payload, self.query).map_err(Broken::Malformed)? {
                    self.keep(socket);
                }
                Ok(Step::More)
            }
            NLMSG_DONE => code(message).map(|()| Step::End),
            NLMSG_ERROR => code(message).map(|()| Step::More),
            NLMSG_OVERRUN => {
                self.torn = true;
                Ok(Step::More)
            }
            NLMSG_NOOP => Ok(Step::More),
            _ => Err(Broken::Malformed("a message of an unknown type")),
        }
    }

    fn keep(&mut self, socket: Socket) {
        if self.found.len() < self.room {
            self.found.push(socket);
        } else {
            self.full = true;
        }
    }
}

/// A `struct nlmsghdr`: length (4), type (2), flags (2), sequence (4), port (4); then the payload.
fn next_message<'a>(datagram: &mut &'a [u8]) -> Result<Message<'a>, &'static str> {
    let read = |bytes: &mut &'a [u8]| {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = cut(bytes, length, NLMSGHDR_LENGTH)?;
        Some(Message {
            kind: u16_at(message, 4)?,
            flags: u16_at(message, 6)?,
            sequence: u32_at(message, 8)?,
            port: u32_at(message, 12)?,
            payload: message.get(NLMSGHDR_LENGTH..)?,
        })
    };
    read(datagram).ok_or("a message with a wrong length")
}

/// The code that ends a dump or refuses it: 0, or a negative errno.
fn code(message: &Message<'_>) -> Result<(), Broken> {
    let code = u32_at(message.payload, 0).ok_or(Broken::Malformed("an end without its code"))?;
    match code.cast_signed() {
        0 => Ok(()),
        code @ i32::MIN..0 => Err(Broken::Refused(code.saturating_neg())),
        1.. => Err(Broken::Malformed("an error code above zero")),
    }
}
