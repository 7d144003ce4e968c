//! See `definitions` in the library.
#![no_main]

leveret_fuzz::target!(definitions);
