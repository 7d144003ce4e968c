//! See `queue` in the library.
#![no_main]

leveret_fuzz::target!(queue);
