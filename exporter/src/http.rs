//! What is answered over HTTP, and to whom for how long.

mod landing;
mod routes;
mod server;

pub(crate) use routes::{Board, router};
pub(crate) use server::{bind, serve};

#[cfg(test)]
mod tests;
