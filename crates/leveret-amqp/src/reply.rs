//! The reply codes of AMQP 0-9-1 with their names, as they stand in `close` and `return` methods.

use std::fmt;

/// A reply code. Which of them end the connection and which only the channel is told by [`ReplyCode::is_hard`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplyCode(pub u16);

macro_rules! reply_codes {
    ($($name:ident = $code:literal $hard:literal;)*) => {
        impl ReplyCode {
            $(#[doc = concat!("`", stringify!($name), "`, ", stringify!($code), ".")]
            pub const $name: Self = Self($code);)*

            /// The name in the specification, as it begins RabbitMQ's reply texts.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self.0 { $($code => stringify!($name),)* _ => "UNKNOWN" }
            }

            /// Whether the code ends the connection rather than the channel.
            #[must_use]
            pub fn is_hard(self) -> bool {
                match self.0 { $($code => $hard,)* _ => true }
            }
        }
    };
}

reply_codes! {
    REPLY_SUCCESS = 200 false;
    CONTENT_TOO_LARGE = 311 false;
    NO_ROUTE = 312 false;
    NO_CONSUMERS = 313 false;
    CONNECTION_FORCED = 320 true;
    INVALID_PATH = 402 true;
    ACCESS_REFUSED = 403 false;
    NOT_FOUND = 404 false;
    RESOURCE_LOCKED = 405 false;
    PRECONDITION_FAILED = 406 false;
    FRAME_ERROR = 501 true;
    SYNTAX_ERROR = 502 true;
    COMMAND_INVALID = 503 true;
    CHANNEL_ERROR = 504 true;
    UNEXPECTED_FRAME = 505 true;
    RESOURCE_ERROR = 506 true;
    NOT_ALLOWED = 530 true;
    NOT_IMPLEMENTED = 540 true;
    INTERNAL_ERROR = 541 true;
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.name())
    }
}
