//! `leveret demo`: the broker and the three systems on it, in one process and with nothing to install, that shows by itself
//! what it is for and then stays up to be played with.

mod options;
mod page;
mod run;
mod stage;
mod story;
mod tour;

pub(crate) use self::options::Options;
pub(crate) use self::run::run;
