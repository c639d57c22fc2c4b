//! What is answered over HTTP, and to whom for how long.

mod landing;
mod routes;
mod security;
mod server;
mod who;

pub(crate) use routes::{Board, router};
pub(crate) use security::Security;
pub(crate) use server::{bind, serve};

#[cfg(test)]
mod tests;
