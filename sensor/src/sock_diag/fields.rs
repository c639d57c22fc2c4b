//! Numbers and parts out of bytes that may be shorter than they claim.

/// Netlink aligns messages and attributes to this.
const ALIGNMENT: usize = 4;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(array_at(bytes, at)?))
}

pub(super) fn u16_be_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array_at(bytes, at)?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(array_at(bytes, at)?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(array_at(bytes, at)?))
}

pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Cuts the first `length` bytes and their padding off `rest`. `None` where there are fewer than `length`, or where
/// `length` is below `least`: that would read the same bytes for ever.
pub(super) fn cut<'a>(rest: &mut &'a [u8], length: usize, least: usize) -> Option<&'a [u8]> {
    if length < least {
        return None;
    }
    let part = rest.get(..length)?;
    let padded = length.checked_next_multiple_of(ALIGNMENT)?;
    *rest = rest.get(padded..).unwrap_or_default();
    Some(part)
}
