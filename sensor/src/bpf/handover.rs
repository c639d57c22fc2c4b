use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aya::{Btf, Ebpf};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

use super::files::Files;
use super::hook::Hook;

/// A hook, with the link that keeps its program attached, or why the kernel refused it.
pub(super) struct Attached {
    pub(super) hook: Hook,
    pub(super) link: Result<OwnedFd, String>,
}

/// What the loader has.
pub(super) struct Loaded {
    /// Where events are wanted.
    pub(super) maps: Option<Maps>,
    pub(super) iterator: Option<OwnedFd>,
    pub(super) attached: Vec<Attached>,
    /// Taking it apart takes longer than handing the rest over, and nobody needs to wait for it.
    pub(super) remains: (Ebpf, Btf),
}

/// What events go through.
#[derive(Debug)]
pub(crate) struct Maps {
    /// Their ring.
    pub(crate) events: OwnedFd,
    /// The page with the count of lost events.
    pub(crate) lost: OwnedFd,
    /// The cookies of sockets whose end is told by the hook for closes alone.
    pub(crate) waiting: OwnedFd,
    /// The processes whose children, programs and ends are told.
    pub(crate) holders: OwnedFd,
}

/// What the sensor has of it.
#[derive(Debug)]
pub(crate) struct Programs {
    /// Where events are wanted.
    pub(crate) maps: Option<Maps>,
    /// The program of the iterator.
    pub(crate) iterator: Option<OwnedFd>,
    /// The hooks in force; each ends with its descriptor.
    pub(crate) links: Vec<(Hook, OwnedFd)>,
    /// The others, and why.
    pub(crate) refused: Vec<(Hook, String)>,
    _loader: Ending,
}

/// A loader that has nothing more to do: it is waited for when this goes.
#[derive(Debug)]
struct Ending(Option<Child>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(loader) = &mut self.0 {
            // It ends by itself, unless somebody has stopped it.
            drop(loader.kill());
            drop(loader.wait());
        }
    }
}

impl Programs {
    /// Takes the iterators out.
    ///
    /// # Errors
    /// Why the kernel refuses the one that no look can do without.
    pub(crate) fn files(&mut self) -> Result<Files, String> {
        let tasks = self.take(Hook::Tasks);
        match self.take(Hook::Files) {
            Some(files) => Ok(Files::new(tasks, files, self.iterator.take())),
            None => {
                let refused = self.refused.iter().find(|(hook, _)| *hook == Hook::Files);
                let reason = refused.map_or("it was not loaded", |(_, reason)| reason);
                Err(format!("{}: {reason}", Hook::Files))
            }
        }
    }

    fn take(&mut self, wanted: Hook) -> Option<OwnedFd> {
        let place = self.links.iter().position(|(hook, _)| *hook == wanted)?;
        Some(self.links.remove(place).1)
    }
}

/// What stands beside the descriptors: how they are to be understood.
#[derive(Serialize, Deserialize)]
enum Report {
    /// Maps and the iterator's program, each if it is there, then the links of the hooks without a refusal.
    Loaded {
        maps: bool,
        iterator: bool,
        hooks: Vec<(Hook, Option<String>)>,
    },
    Failed(String),
}

/// Of one message; the kernel takes at most 253.
const MOST_DESCRIPTORS: usize = 32;
/// A slow machine verifies the programs in a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_REPORT: usize = 64 << 10;

pub(super) fn hand_over(output: BorrowedFd<'_>, loaded: Result<Loaded, String>) -> io::Result<()> {
    let mut remains = None;
    let (report, descriptors) = match loaded {
        Err(reason) => (Report::Failed(reason), Vec::new()),
        Ok(loaded) => {
            remains = Some(loaded.remains);
            let (maps, iterator) = (loaded.maps.is_some(), loaded.iterator.is_some());
            let in_order = |maps: Maps| [maps.events, maps.lost, maps.waiting, maps.holders];
            let mut descriptors: Vec<OwnedFd> = loaded.maps.into_iter().flat_map(in_order).collect();
            descriptors.extend(loaded.iterator);
            let mut hooks = Vec::new();
            for Attached { hook, link } in loaded.attached {
                hooks.push((hook, link.as_ref().err().cloned()));
                descriptors.extend(link);
            }
            (Report::Loaded { maps, iterator, hooks }, descriptors)
        }
    };
    let report = serde_json::to_vec(&report)?;
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("more descriptors than one message takes"));
    }
    sendmsg(output, &[IoSlice::new(&report)], &mut control, SendFlags::NOSIGNAL)?;
    drop(remains);
    Ok(())
}

/// A loader at work.
#[derive(Debug)]
pub(crate) struct Loading {
    child: Child,
    ours: OwnedFd,
}

impl Loading {
    /// Has `loader` load the programs.
    ///
    /// # Errors
    /// A sentence about what hinders it to begin.
    pub(crate) fn start(mut loader: Command) -> Result<Self, String> {
        let failed = |error: io::Error| format!("the loader cannot be started: {error}");
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| failed(errno.into()))?;
        // It has the only other end: where it dies, the wait for its message ends.
        loader.stdin(Stdio::null()).stdout(theirs);
        let child = loader.spawn().map_err(failed)?;
        Ok(Loading { child, ours })
    }

    /// Takes over what it hands out on its standard output.
    ///
    /// # Errors
    /// A sentence about what the kernel, or the way there, refuses.
    pub(crate) fn finish(mut self) -> Result<Programs, String> {
        let taken = set_socket_timeout(&self.ours, Timeout::Recv, Some(PATIENCE))
            .map_err(io::Error::from)
            .and_then(|()| take_over(self.ours.as_fd()));
        match taken {
            Ok(programs) => {
                programs.map(|programs| Programs { _loader: Ending(Some(self.child)), ..programs })
            }
            Err(error) => Err(self.failure(&error)),
        }
    }

    /// Why it handed over nothing.
    fn failure(&mut self, error: &io::Error) -> String {
        // It has ended, or hangs.
        drop(self.child.kill());
        let status = match self.child.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the loader ended without a word ({status})"),
            io::ErrorKind::WouldBlock => {
                format!("the loader said nothing for {} seconds", PATIENCE.as_secs())
            }
            _ => format!("what the loader hands over cannot be taken: {error}"),
        }
    }
}

fn take_over(input: BorrowedFd<'_>) -> io::Result<Result<Programs, String>> {
    let mut report = vec![0; LONGEST_REPORT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(input, &mut [IoSliceMut::new(&mut report)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    let mut descriptors = control.drain().flat_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => rights.collect::<Vec<_>>(),
        _ => Vec::new(),
    });
    let (maps, iterator, hooks) = match serde_json::from_slice(&report[..received.bytes])? {
        Report::Failed(reason) => return Ok(Err(reason)),
        Report::Loaded { maps, iterator, hooks } => (maps, iterator, hooks),
    };
    let mut next = || descriptors.next().ok_or_else(|| io::Error::other("fewer descriptors than told"));
    let maps = match maps {
        true => Some(Maps { events: next()?, lost: next()?, waiting: next()?, holders: next()? }),
        false => None,
    };
    let iterator = iterator.then(&mut next).transpose()?;
    let (mut links, mut refused) = (Vec::new(), Vec::new());
    for (hook, refusal) in hooks {
        match refusal {
            Some(reason) => refused.push((hook, reason)),
            None => links.push((hook, next()?)),
        }
    }
    Ok(Ok(Programs { maps, iterator, links, refused, _loader: Ending(None) }))
}

#[cfg(test)]
pub(crate) fn load_here() -> Result<Programs, String> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(|errno| errno.to_string())?;
    hand_over(theirs.as_fd(), super::load::load_wanted(super::choice::Wanted::Events))
        .map_err(|error| error.to_string())?;
    take_over(ours.as_fd()).map_err(|error| error.to_string())?
}
