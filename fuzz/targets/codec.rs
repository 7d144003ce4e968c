//! See `codec` in the library.
#![no_main]

leveret_fuzz::target!(codec);
