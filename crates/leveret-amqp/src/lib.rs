//! The AMQP 0-9-1 wire codec: frames, methods, field tables and content headers, in both directions.
//!
//! Decoding borrows from the buffer it reads and allocates nothing; encoding appends to a `Vec<u8>`. No I/O,
//! no clock and no async live here, and no input makes it panic: what is malformed is a [`DecodeError`].

mod content;
mod error;
mod frame;
mod method;
mod reply;
mod table;
mod wire;

pub use content::{ContentHeader, DeliveryMode, Properties, flags};
pub use error::DecodeError;
pub use frame::{
    FRAME_END, FRAME_MIN_SIZE, FRAME_OVERHEAD, Frame, FrameKind, PROTOCOL_HEADER, begin_frame, end_frame,
    parse_frame, write_body_frames, write_heartbeat, write_method,
};
pub use method::{Method, basic, channel, confirm, connection, exchange, queue, tx};
pub use reply::ReplyCode;
pub use table::{FieldTable, Table, TableIter, Value, ValueRef};
pub use wire::{Reader, Wire, write_shortstr};
