//! Content headers (spec 4.2.6.1) and the properties of class `basic`.

use crate::frame::{FrameKind, begin_frame, end_frame};
use crate::wire::{Reader, Wire};
use crate::{DecodeError, Table};

const BASIC: u16 = 60;

/// The property flags of class `basic`.
#[allow(missing_docs)]
pub mod flags {
    pub const CONTENT_TYPE: u16 = 1 << 15;
    pub const CONTENT_ENCODING: u16 = 1 << 14;
    pub const HEADERS: u16 = 1 << 13;
    pub const DELIVERY_MODE: u16 = 1 << 12;
    pub const PRIORITY: u16 = 1 << 11;
    pub const CORRELATION_ID: u16 = 1 << 10;
    pub const REPLY_TO: u16 = 1 << 9;
    pub const EXPIRATION: u16 = 1 << 8;
    pub const MESSAGE_ID: u16 = 1 << 7;
    pub const TIMESTAMP: u16 = 1 << 6;
    pub const KIND: u16 = 1 << 5;
    pub const USER_ID: u16 = 1 << 4;
    pub const APP_ID: u16 = 1 << 3;
    pub const CLUSTER_ID: u16 = 1 << 2;
}

/// What a header frame announces: the size of the body, and the properties, still encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// Size of the whole body in bytes.
    pub body_size: u64,
    /// Flags and values as on the wire; [`Properties::parse`] reads them.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Reads a header frame's payload. The properties are not looked at.
    ///
    /// # Errors
    /// Too short, or of another class than `basic`.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let class: u16 = reader.read()?;
        if class != BASIC {
            return Err(DecodeError::UnknownClass(class));
        }
        let _weight: u16 = reader.read()?;
        let body_size = reader.read()?;
        if reader.rest().len() < 2 {
            return Err(DecodeError::Truncated);
        }
        Ok(Self { body_size, properties: reader.rest() })
    }

    /// Appends a header frame.
    #[inline]
    pub fn write_frame(&self, channel: u16, out: &mut Vec<u8>) {
        let start = begin_frame(FrameKind::Header, channel, out);
        out.extend_from_slice(&[0, BASIC as u8, 0, 0]);
        out.extend_from_slice(&self.body_size.to_be_bytes());
        out.extend_from_slice(self.properties);
        end_frame(start, out);
    }
}

/// The `delivery-mode` property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DeliveryMode {
    /// 1, or absent, or any other value: lost when the broker ends.
    Transient = 1,
    /// 2: kept on disk in durable queues.
    Persistent = 2,
}

/// The properties of a message, borrowed from their encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Properties<'a> {
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
    pub headers: Option<Table<'a>>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<&'a str>,
    pub reply_to: Option<&'a str>,
    pub expiration: Option<&'a str>,
    pub message_id: Option<&'a str>,
    pub timestamp: Option<u64>,
    pub kind: Option<&'a str>,
    pub user_id: Option<&'a str>,
    pub app_id: Option<&'a str>,
    pub cluster_id: Option<&'a str>,
}

macro_rules! properties {
    ($($field:ident $flag:ident;)*) => {
        impl<'a> Properties<'a> {
            /// Reads flags and values to the end of `bytes`.
            ///
            /// # Errors
            /// Unknown flags, malformed values, bytes left over.
            pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
                let mut reader = Reader::new(bytes);
                let set: u16 = reader.read()?;
                if set & 0b11 != 0 {
                    return Err(DecodeError::PropertyFlags(set));
                }
                let properties = Self {
                    $($field: if set & flags::$flag != 0 { Some(reader.read()?) } else { None },)*
                };
                reader.finish()?;
                Ok(properties)
            }

            /// Appends flags and values.
            pub fn write(&self, out: &mut Vec<u8>) {
                let mut set = 0;
                $(if self.$field.is_some() { set |= flags::$flag; })*
                set.write(out, &mut 0);
                $(if let Some(value) = self.$field { value.write(out, &mut 0); })*
            }
        }
    };
}

properties! {
    content_type CONTENT_TYPE;
    content_encoding CONTENT_ENCODING;
    headers HEADERS;
    delivery_mode DELIVERY_MODE;
    priority PRIORITY;
    correlation_id CORRELATION_ID;
    reply_to REPLY_TO;
    expiration EXPIRATION;
    message_id MESSAGE_ID;
    timestamp TIMESTAMP;
    kind KIND;
    user_id USER_ID;
    app_id APP_ID;
    cluster_id CLUSTER_ID;
}

impl Properties<'_> {
    /// Whether the message is to outlive the broker's process.
    #[must_use]
    pub fn mode(&self) -> DeliveryMode {
        if self.delivery_mode == Some(2) { DeliveryMode::Persistent } else { DeliveryMode::Transient }
    }

    /// Flags and values, encoded.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}
