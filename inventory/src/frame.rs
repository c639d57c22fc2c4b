//! What the sensor tells the exporter, as bytes: one message a frame, one frame a packet.
//!
//! A frame is `PLGR`, the version, three zero bytes, the length of what follows (`u32`, big endian) and a [`Message`]
//! in postcard's encoding. A pass is `Begin`, any number of other messages, `End`; [`Assembler`] gives a pass out only
//! when it is whole, so that a sensor that dies in the middle leaves the inventory before it in force.

mod assembler;
mod message;

pub use assembler::{Assembler, BrokenPass, Pass};
pub use message::{Closing, Message, Tells, messages_of_changes, messages_of_events, messages_of_inventory};

/// Raised with every change of the encoding: both ends are the same program, so none is ever translated.
pub const VERSION: u8 = 2;
/// The largest frame, header included; a packet of a Unix socket with the default send buffer holds it.
pub const MAX_FRAME: usize = 128 * 1024;

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

/// Writes a message as a frame. Fails only with [`BrokenFrame::TooLarge`] and [`BrokenFrame::Content`].
pub fn encode(message: &Message) -> Result<Vec<u8>, BrokenFrame> {
    let mut frame = vec![0; HEADER];
    frame = postcard::to_extend(message, frame).map_err(|error| BrokenFrame::Content(error.to_string()))?;
    if frame.len() > MAX_FRAME {
        return Err(BrokenFrame::TooLarge(frame.len()));
    }
    let length = u32::try_from(frame.len() - HEADER).map_err(|_| BrokenFrame::TooLarge(frame.len()))?;
    frame[..4].copy_from_slice(&MAGIC);
    frame[4] = VERSION;
    frame[8..HEADER].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// Reads one whole frame.
pub fn decode(frame: &[u8]) -> Result<Message, BrokenFrame> {
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
    match postcard::take_from_bytes(content) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(BrokenFrame::Content(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(BrokenFrame::Content(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
