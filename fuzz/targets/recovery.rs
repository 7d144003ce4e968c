//! See `recovery` in the library.
#![no_main]

leveret_fuzz::target!(recovery);
