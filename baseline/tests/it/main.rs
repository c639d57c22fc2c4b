//! The design's rules as stories on the library's own surface.
// What the tests call fails as they do; clippy knows only the functions that are marked as tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod diagnostics;
mod editing;
mod explaining;
mod files;
mod fleets;
mod formatting;
mod learning;
mod linting;
mod matching;
mod patterns;
mod planning;
mod properties;
mod register;
mod severities;
mod signatures;
mod world;
