use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
    pub(super) events: OwnedFd,
    pub(super) lost: OwnedFd,
    pub(super) waiting: OwnedFd,
    pub(super) holders: OwnedFd,
    pub(super) iterator: Option<OwnedFd>,
    pub(super) attached: Vec<Attached>,
}

/// What the sensor has of it.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The ring of events.
    pub(crate) events: OwnedFd,
    /// The page with the count of lost events.
    pub(crate) lost: OwnedFd,
    /// The cookies of sockets whose end is told by the hook for closes alone.
    pub(crate) waiting: OwnedFd,
    /// The processes whose children, programs and ends are told.
    pub(crate) holders: OwnedFd,
    /// The program of the iterator.
    pub(crate) iterator: Option<OwnedFd>,
    /// The hooks in force; each ends with its descriptor.
    pub(crate) links: Vec<(Hook, OwnedFd)>,
    /// The others, and why.
    pub(crate) refused: Vec<(Hook, String)>,
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
    /// Maps, then the iterator's program if there is one, then the links of the hooks without a refusal.
    Loaded {
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
    let (report, descriptors) = match loaded {
        Err(reason) => (Report::Failed(reason), Vec::new()),
        Ok(loaded) => {
            let iterator = loaded.iterator.is_some();
            let mut descriptors = vec![loaded.events, loaded.lost, loaded.waiting, loaded.holders];
            descriptors.extend(loaded.iterator);
            let mut hooks = Vec::new();
            for Attached { hook, link } in loaded.attached {
                hooks.push((hook, link.as_ref().err().cloned()));
                descriptors.extend(link);
            }
            (Report::Loaded { iterator, hooks }, descriptors)
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
        if taken.is_err() {
            // It has ended, or hangs.
            drop(self.child.kill());
        }
        let status = self.child.wait().map_err(|error| format!("the loader's end is not known: {error}"))?;
        match taken {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(format!("the loader ended without a word ({status})"))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(format!("the loader said nothing for {} seconds", PATIENCE.as_secs()))
            }
            Err(error) => Err(format!("what the loader hands over cannot be taken: {error}")),
            Ok(taken) => taken,
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
    let (iterator, hooks) = match serde_json::from_slice(&report[..received.bytes])? {
        Report::Failed(reason) => return Ok(Err(reason)),
        Report::Loaded { iterator, hooks } => (iterator, hooks),
    };
    let mut next = || descriptors.next().ok_or_else(|| io::Error::other("fewer descriptors than told"));
    let (events, lost, waiting, holders) = (next()?, next()?, next()?, next()?);
    let iterator = iterator.then(&mut next).transpose()?;
    let (mut links, mut refused) = (Vec::new(), Vec::new());
    for (hook, refusal) in hooks {
        match refusal {
            Some(reason) => refused.push((hook, reason)),
            None => links.push((hook, next()?)),
        }
    }
    Ok(Ok(Programs { events, lost, waiting, holders, iterator, links, refused }))
}

#[cfg(test)]
pub(crate) fn load_here() -> Result<Programs, String> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.map_err(|errno| errno.to_string())?;
    hand_over(theirs.as_fd(), super::load::load_all(&Hook::ALL)).map_err(|error| error.to_string())?;
    take_over(ours.as_fd()).map_err(|error| error.to_string())?
}
