//! See `http` in the library.
#![no_main]

leveret_fuzz::target!(http);
