//! Frames (spec 4.2.3): the envelope of everything but the protocol header.

use crate::wire::Reader;
use crate::{DecodeError, Method};

/// What a client sends first.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";
/// The last octet of every frame.
pub const FRAME_END: u8 = 0xCE;
/// Bytes of a frame beside its payload.
pub const FRAME_OVERHEAD: usize = 8;
/// No peer may ask for smaller frames, in bytes.
pub const FRAME_MIN_SIZE: u32 = 4096;

const HEADER: usize = 7;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A method of some class.
    Method = 1,
    /// The content header that follows a method with content.
    Header = 2,
    /// A part of the content's body.
    Body = 3,
    /// Sign of life, on channel 0.
    Heartbeat = 8,
}

/// A frame whose payload lies in the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: FrameKind,
    /// The channel it belongs to, 0 for the connection itself.
    pub channel: u16,
    /// What stands between header and end octet.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the frame on the wire.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.payload.len() + FRAME_OVERHEAD
    }
}

/// The frame at the start of `bytes`; `None` while it is not all there. `frame_max` is in bytes, 0 for no limit.
///
/// # Errors
/// Unknown type, larger than `frame_max`, wrong end octet. Each is found as soon as its bytes are there, so
/// that nobody waits for, or sets memory aside for, a frame that will be refused.
#[inline]
pub fn parse_frame(bytes: &[u8], frame_max: u32) -> Result<Option<Frame<'_>>, DecodeError> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let kind = match first {
        1 => FrameKind::Method,
        2 => FrameKind::Header,
        3 => FrameKind::Body,
        8 => FrameKind::Heartbeat,
        other => return Err(DecodeError::FrameType(*other)),
    };
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(None) };
    let channel = u16::from_be_bytes([header[1], header[2]]);
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let wire_len = u64::from(size) + FRAME_OVERHEAD as u64;
    if frame_max != 0 && wire_len > u64::from(frame_max) {
        return Err(DecodeError::FrameTooLarge { size: wire_len, max: frame_max });
    }
    let size = size as usize;
    let Some(end) = bytes.get(HEADER + size) else { return Ok(None) };
    if *end != FRAME_END {
        return Err(DecodeError::FrameEnd);
    }
    Ok(Some(Frame { kind, channel, payload: &bytes[HEADER..HEADER + size] }))
}

impl<'a> Frame<'a> {
    /// The method in a method frame.
    ///
    /// # Errors
    /// Unknown class or method, malformed fields.
    pub fn method(&self) -> Result<Method<'a>, DecodeError> {
        Method::read(&mut Reader::new(self.payload))
    }
}

/// Starts a frame in `out`; returns where, for [`end_frame`].
#[inline]
pub fn begin_frame(kind: FrameKind, channel: u16, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let [high, low] = channel.to_be_bytes();
    out.extend_from_slice(&[kind as u8, high, low, 0, 0, 0, 0]);
    start
}

/// Ends the frame begun at `start`: sets its size and the end octet.
#[inline]
pub fn end_frame(start: usize, out: &mut Vec<u8>) {
    let size = (out.len() - start - HEADER) as u32;
    out[start + 3..start + HEADER].copy_from_slice(&size.to_be_bytes());
    out.push(FRAME_END);
}

/// Appends a method frame.
pub fn write_method<'a>(channel: u16, method: impl Into<Method<'a>>, out: &mut Vec<u8>) {
    let start = begin_frame(FrameKind::Method, channel, out);
    method.into().write(out);
    end_frame(start, out);
}

/// Appends a heartbeat.
pub fn write_heartbeat(out: &mut Vec<u8>) {
    let start = begin_frame(FrameKind::Heartbeat, 0, out);
    end_frame(start, out);
}

/// Appends `body` in as many body frames as `frame_max` (bytes, 0 for no limit) asks for; none for an empty body.
#[inline]
pub fn write_body_frames(channel: u16, body: &[u8], frame_max: u32, out: &mut Vec<u8>) {
    let room = match frame_max as usize {
        0 => usize::MAX,
        max => max.saturating_sub(FRAME_OVERHEAD).max(1),
    };
    for part in body.chunks(room) {
        let [high, low] = channel.to_be_bytes();
        let [a, b, c, d] = (part.len() as u32).to_be_bytes();
        out.extend_from_slice(&[FrameKind::Body as u8, high, low, a, b, c, d]);
        out.extend_from_slice(part);
        out.push(FRAME_END);
    }
}
