//! Why bytes are not AMQP.

use thiserror::Error;

use crate::ReplyCode;

/// What is wrong with bytes that should have been AMQP 0-9-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A field reaches past the end of its frame.
    #[error("field reaches past the end of its frame")]
    Truncated,
    /// A frame has more bytes than its method or header uses.
    #[error("{0} bytes left over at the end of the frame")]
    Trailing(usize),
    /// The frame type octet is none of 1, 2, 3, 8.
    #[error("unknown frame type {0}")]
    FrameType(u8),
    /// The frame is larger than negotiated.
    #[error("frame of {size} bytes is larger than the negotiated maximum of {max}")]
    FrameTooLarge {
        /// Size of the whole frame in bytes, as it announces.
        size: u64,
        /// The negotiated frame_max in bytes.
        max: u32,
    },
    /// The octet after the payload is not 0xCE.
    #[error("frame does not end with 0xCE")]
    FrameEnd,
    /// No such class in the protocol.
    #[error("unknown class {0}")]
    UnknownClass(u16),
    /// No such method in the class.
    #[error("unknown method {1} of class {0}")]
    UnknownMethod(u16, u16),
    /// A short string is not UTF-8.
    #[error("short string is not UTF-8")]
    Utf8,
    /// A field table holds a type that the protocol does not know.
    #[error("unknown field type 0x{0:02x}")]
    FieldType(u8),
    /// Tables and arrays are nested too deep.
    #[error("field table is nested deeper than {0} levels")]
    TooDeep(usize),
    /// The property flags continue, or name properties that do not exist.
    #[error("unknown property flags 0x{0:04x}")]
    PropertyFlags(u16),
}

impl DecodeError {
    /// The reply code with which a connection ends over this error.
    #[must_use]
    pub fn reply_code(&self) -> ReplyCode {
        match self {
            Self::FrameTooLarge { .. } | Self::FrameEnd | Self::FrameType(_) => ReplyCode::FRAME_ERROR,
            Self::UnknownClass(_) => ReplyCode::COMMAND_INVALID,
            Self::UnknownMethod(..) => ReplyCode::NOT_IMPLEMENTED,
            _ => ReplyCode::SYNTAX_ERROR,
        }
    }
}
