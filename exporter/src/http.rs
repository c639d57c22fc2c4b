//! What is answered over HTTP, and to whom for how long.

mod access;
mod addresses;
mod counts;
mod landing;
mod logins;
mod roles;
mod routes;
mod seats;
mod security;
mod server;
mod stream;
mod who;

pub(crate) use addresses::{Door, adopt, bind};
pub use addresses::{Inherited, InheritedError, ListenAddress, take_inherited};
pub(crate) use counts::HttpCounts;
pub use roles::{Right, Role};
pub(crate) use routes::{Board, router};
pub(crate) use seats::Seats;
pub(crate) use security::Security;
pub(crate) use server::{House, Rules};

#[cfg(test)]
mod tests;
