//! The web UI: its pages as files in the binary, and the sessions of those who have signed in. What its pages do they do
//! through the API, as anybody else; nothing is rendered here.

mod files;
pub(crate) mod session;

pub(crate) use files::router;
