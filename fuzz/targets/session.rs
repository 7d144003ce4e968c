//! See `session` in the library.
#![no_main]

leveret_fuzz::target!(session);
