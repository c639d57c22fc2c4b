//! What the kernel tells of listeners that open and close between two looks at it.

#[cfg_attr(not(test), expect(dead_code))]
pub(crate) mod perf;
