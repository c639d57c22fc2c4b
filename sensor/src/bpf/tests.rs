mod bytes;
mod layout;
mod ring;
