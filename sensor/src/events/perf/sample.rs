//! What a record in a ring says. The layouts are those of `enum perf_event_type` in include/uapi/linux/perf_event.h, for
//! samples of TID, TIME and RAW.

use std::fmt;
use std::net::IpAddr;

use super::tracefs::Format;

const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;

/// include/net/tcp_states.h.
const TCP_LISTEN: u64 = 10;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

/// A TCP socket, or one of another protocol with TCP's states, that began to listen or ceased to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// When, by `CLOCK_BOOTTIME`; too late by the sleep of a machine that slept before this was read.
    pub(crate) boot_nanos: u64,
    /// Who did it, as our pid namespace counts; `None` for one that is outside of it, and for the kernel itself.
    pub(crate) pid: Option<u32>,
    /// The thread that did it, likewise.
    pub(crate) tid: Option<u32>,
    /// `IPPROTO_TCP`, or `IPPROTO_MPTCP`, whose sockets are told beside the TCP ones beneath them, or another.
    pub(crate) protocol: u16,
    /// Whether it began to listen.
    pub(crate) opened: bool,
    /// What it is bound to; of the family of the socket.
    pub(crate) address: IpAddr,
    /// 0 at an open whose port the kernel has yet to choose.
    pub(crate) port: u16,
    /// Equal for the open and the close of one socket.
    pub(crate) socket: SocketKey,
}

/// An address in the kernel, which is nobody's business: it has no way to be shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SocketKey(u64);

#[cfg(test)]
impl SocketKey {
    pub(crate) fn of(address: u64) -> Self {
        SocketKey(address)
    }
}

impl fmt::Debug for SocketKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SocketKey(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Sample(Sample),
    /// So many samples found no room in the ring since the last such record.
    Lost(u64),
}

/// `body` is what follows the header, and `to_boot` what lies between the clock of the samples and `CLOCK_BOOTTIME`, in
/// nanoseconds. `None` where the record is of another kind or does not hold what it should.
pub(super) fn read(kind: u32, body: &[u8], format: &Format, to_boot: u64) -> Option<Record> {
    match kind {
        PERF_RECORD_SAMPLE => sample(body, format, to_boot).map(Record::Sample),
        // The id of the event comes first.
        PERF_RECORD_LOST => Some(Record::Lost(u64::from_ne_bytes(array(body, 8)?))),
        _ => None,
    }
}

fn sample(body: &[u8], format: &Format, to_boot: u64) -> Option<Sample> {
    let pid = u32::from_ne_bytes(array(body, 0)?);
    let tid = u32::from_ne_bytes(array(body, 4)?);
    let nanos = u64::from_ne_bytes(array(body, 8)?);
    let length = usize::try_from(u32::from_ne_bytes(array(body, 16)?)).ok()?;
    let raw = body.get(20..)?.get(..length)?;
    let address = match format.family.number(raw)? {
        AF_INET => format.v4,
        AF_INET6 => format.v6,
        _ => return None,
    };
    Some(Sample {
        boot_nanos: nanos.saturating_add(to_boot),
        pid: known(pid),
        tid: known(tid),
        protocol: u16::try_from(format.protocol.number(raw)?).ok()?,
        opened: format.new_state.number(raw)? == TCP_LISTEN,
        address: address.address(raw)?,
        port: u16::try_from(format.port.number(raw)?).ok()?,
        socket: SocketKey(format.socket.number(raw)?),
    })
}

/// The kernel says 0 of a process that our namespace does not count, and -1 of one that is all but gone.
fn known(pid: u32) -> Option<u32> {
    (pid != 0 && pid != u32::MAX).then_some(pid)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A format up to the first zero, and behind it the body of a record in that format.
#[cfg(any(test, fuzzing))]
pub fn fuzzed(bytes: &[u8]) {
    let (format, body) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    let body = body.get(1..).unwrap_or_default();
    let Ok(format) = Format::parse(&String::from_utf8_lossy(format)) else { return };
    for kind in [PERF_RECORD_SAMPLE, PERF_RECORD_LOST] {
        if let Some(Record::Sample(sample)) = read(kind, body, &format, 1_000) {
            assert!(sample.boot_nanos >= 1_000 && sample.pid != Some(0) && sample.tid != Some(0));
        }
    }
}
