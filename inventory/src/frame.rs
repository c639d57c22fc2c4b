//! What the sensor tells the exporter, as bytes: messages in frames, one frame a packet.
//!
//! A frame is `PLGR`, the version, three zero bytes, the length of what follows (`u32`, big endian) and one
//! [`Message`] after the other in postcard's encoding: a packet for each would cost more than all else that is done for
//! it. A pass is `Begin`, any number of other messages, `End`; [`Assembler`] gives a pass out only
//! when it is whole, so that a sensor that dies in the middle leaves the inventory before it in force.

mod assembler;
mod message;

pub use assembler::{Assembler, BrokenPass, Pass};
pub use message::{Closing, Message, Tells, messages_of_changes, messages_of_events, messages_of_inventory};

/// Raised with every change of the encoding: both ends are the same program, so none is ever translated.
pub const VERSION: u8 = 4;
/// The largest frame, header included; a packet of a Unix socket with the default send buffer holds it.
pub const MAX_FRAME: usize = 128 * 1024;

/// No message is added to a frame that would become longer: a socket's buffer has room for several.
const FULL: usize = 32 * 1024;
const MAGIC: [u8; 4] = *b"PLGR";
const HEADER: usize = 12;

/// A packet that is no frame of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BrokenFrame {
    #[error("a frame of {0} bytes is larger than {MAX_FRAME}")]
    TooLarge(usize),
    #[error("{0} bytes are less than a frame's header")]
    Short(usize),
    #[error("it does not begin as a frame does")]
    Magic,
    #[error("version {0} of the frames is spoken there, {VERSION} here: both ends must be the same release")]
    Version(u8),
    #[error("the header tells of {told} bytes, {came} came")]
    Length { told: usize, came: usize },
    #[error("what it holds is no message: {0}")]
    Content(String),
}

/// Puts messages into frames, in their order.
#[derive(Debug, Default)]
pub struct Packer {
    /// Messages behind the room for a header; empty where there is none.
    frame: Vec<u8>,
}

impl Packer {
    /// Adds a message, and gives out the frame before it where it found no room there. Nothing is added where it fails,
    /// which it does only with [`BrokenFrame::TooLarge`] and [`BrokenFrame::Content`].
    pub fn add(&mut self, message: &Message) -> Result<Option<Vec<u8>>, BrokenFrame> {
        self.frame.resize(self.frame.len().max(HEADER), 0);
        let before = self.frame.len();
        if let Err(broken) = self.append(message) {
            self.frame.truncate(before);
            return Err(broken);
        }
        if before == HEADER || self.frame.len() <= FULL {
            return Ok(None);
        }
        let mut next = vec![0; HEADER];
        next.extend_from_slice(&self.frame[before..]);
        self.frame.truncate(before);
        Ok(Some(finished(std::mem::replace(&mut self.frame, next))))
    }

    fn append(&mut self, message: &Message) -> Result<(), BrokenFrame> {
        let before = self.frame.len();
        let broken = |error: postcard::Error| BrokenFrame::Content(error.to_string());
        postcard::to_extend(message, Onto(&mut self.frame)).map_err(broken)?;
        match HEADER + self.frame.len() - before {
            alone if alone > MAX_FRAME => Err(BrokenFrame::TooLarge(alone)),
            _ => Ok(()),
        }
    }

    /// The last frame; `None` where there is no message that was not given out.
    pub fn finish(self) -> Option<Vec<u8>> {
        (self.frame.len() > HEADER).then(|| finished(self.frame))
    }
}

/// Where a message is written behind those before it.
struct Onto<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Onto<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}

/// With its header.
fn finished(mut frame: Vec<u8>) -> Vec<u8> {
    // None is longer than [`MAX_FRAME`].
    let length = u32::try_from(frame.len() - HEADER).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&MAGIC);
    frame[4] = VERSION;
    frame[8..HEADER].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Writes a message as a frame of its own. Fails as [`Packer::add`] does.
pub fn encode(message: &Message) -> Result<Vec<u8>, BrokenFrame> {
    let mut packer = Packer::default();
    packer.add(message)?;
    Ok(packer.finish().unwrap_or_default())
}

/// The messages of one whole frame, read one after the other; what cannot be read is the last.
pub fn decode(frame: &[u8]) -> Result<Messages<'_>, BrokenFrame> {
    if frame.len() > MAX_FRAME {
        return Err(BrokenFrame::TooLarge(frame.len()));
    }
    let (header, content) = frame.split_first_chunk::<HEADER>().ok_or(BrokenFrame::Short(frame.len()))?;
    let [m0, m1, m2, m3, version, _, _, _, l0, l1, l2, l3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(BrokenFrame::Magic);
    }
    if version != VERSION {
        return Err(BrokenFrame::Version(version));
    }
    let told = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if told != content.len() {
        return Err(BrokenFrame::Length { told, came: content.len() });
    }
    Ok(Messages { rest: content })
}

/// The messages of what a frame holds behind its header.
#[cfg(any(test, fuzzing))]
pub(crate) fn messages_in(content: &[u8]) -> Messages<'_> {
    Messages { rest: content }
}

/// What [`decode`] gives.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl Iterator for Messages<'_> {
    type Item = Result<Message, BrokenFrame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(self.rest) {
            Ok((message, rest)) => {
                self.rest = rest;
                Some(Ok(message))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(BrokenFrame::Content(error.to_string())))
            }
        }
    }
}

#[cfg(test)]
mod tests;
