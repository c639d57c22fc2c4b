mod bytes;
mod iterators;
mod layout;
mod ring;
