//! See `topic` in the library.
#![no_main]

leveret_fuzz::target!(topic);
