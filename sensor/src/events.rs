//! What the kernel tells of listeners that open and close between two looks at it.

pub(crate) mod clock;
pub(crate) mod followed;
pub(crate) mod heard;
pub(crate) mod perf;
pub(crate) mod source;

#[cfg(test)]
mod tests;
