//! The methods of AMQP 0-9-1 with RabbitMQ's extensions, one module a class. Fields are in wire order; reserved
//! ones (`ticket` and the like) are kept, since they are on the wire.

use crate::wire::{Reader, Wire};
use crate::{DecodeError, Table};

macro_rules! classes {
    ($(
        $class_id:literal $class:ident $Class:ident $(<$class_lt:lifetime>)? {
            $($id:literal $name:ident $(<$lt:lifetime>)? { $($field:ident: $type:ty),* })*
        }
    )*) => {
        $(
            #[doc = concat!("Class `", stringify!($class), "`, ", stringify!($class_id), ".")]
            #[allow(missing_docs)]
            pub mod $class {
                use super::*;

                $(
                    #[doc = concat!("`", stringify!($class), "` method ", stringify!($id), ".")]
                    #[derive(Clone, Copy, Debug, PartialEq)]
                    pub struct $name $(<$lt>)? { $(pub $field: $type,)* }

                    impl<'a> From<$name $(<$lt>)?> for super::Method<'a> {
                        fn from(method: $name $(<$lt>)?) -> Self {
                            super::Method::$Class(Method::$name(method))
                        }
                    }
                )*

                #[doc = concat!("Any method of class `", stringify!($class), "`.")]
                #[derive(Clone, Copy, Debug, PartialEq)]
                pub enum Method $(<$class_lt>)? { $($name($name $(<$lt>)?),)* }

                impl<'a> Method $(<$class_lt>)? {
                    pub(super) fn read(id: u16, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                        let method = match id {
                            $($id => Self::$name($name { $($field: reader.read()?,)* }),)*
                            _ => return Err(DecodeError::UnknownMethod($class_id, id)),
                        };
                        reader.finish()?;
                        Ok(method)
                    }

                    /// Class and method id.
                    #[must_use]
                    pub fn ids(&self) -> (u16, u16) {
                        match self { $(Self::$name(_) => ($class_id, $id),)* }
                    }

                    #[allow(unused_variables, clippy::ptr_arg)]
                    pub(super) fn write(&self, out: &mut Vec<u8>) {
                        let bit = &mut 0;
                        match self {
                            $(Self::$name(method) => { $(method.$field.write(out, bit);)* })*
                        }
                    }
                }
            }
        )*

        /// Any method.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Method<'a> { $($Class($class::Method $(<$class_lt>)?),)* }

        impl<'a> Method<'a> {
            /// Reads a method frame's payload to its end.
            ///
            /// # Errors
            /// Unknown class or method, malformed fields, bytes left over.
            pub fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                let class: u16 = reader.read()?;
                let id: u16 = reader.read()?;
                match class {
                    $($class_id => Ok(Self::$Class($class::Method::read(id, reader)?)),)*
                    _ => Err(DecodeError::UnknownClass(class)),
                }
            }

            /// Class and method id.
            #[must_use]
            pub fn ids(&self) -> (u16, u16) {
                match self { $(Self::$Class(method) => method.ids(),)* }
            }

            /// Appends a method frame's payload.
            pub fn write(&self, out: &mut Vec<u8>) {
                let (class, id) = self.ids();
                class.write(out, &mut 0);
                id.write(out, &mut 0);
                match self { $(Self::$Class(method) => method.write(out),)* }
            }
        }
    };
}

classes! {
    10 connection Connection<'a> {
        10 Start<'a> {
            version_major: u8, version_minor: u8, server_properties: Table<'a>, mechanisms: &'a [u8],
            locales: &'a [u8]
        }
        11 StartOk<'a> { client_properties: Table<'a>, mechanism: &'a str, response: &'a [u8], locale: &'a str }
        20 Secure<'a> { challenge: &'a [u8] }
        21 SecureOk<'a> { response: &'a [u8] }
        30 Tune { channel_max: u16, frame_max: u32, heartbeat: u16 }
        31 TuneOk { channel_max: u16, frame_max: u32, heartbeat: u16 }
        40 Open<'a> { virtual_host: &'a str, reserved_1: &'a str, reserved_2: bool }
        41 OpenOk<'a> { reserved_1: &'a str }
        50 Close<'a> { reply_code: u16, reply_text: &'a str, class_id: u16, method_id: u16 }
        51 CloseOk {}
        60 Blocked<'a> { reason: &'a str }
        61 Unblocked {}
        70 UpdateSecret<'a> { new_secret: &'a [u8], reason: &'a str }
        71 UpdateSecretOk {}
    }
    20 channel Channel<'a> {
        10 Open<'a> { out_of_band: &'a str }
        11 OpenOk<'a> { channel_id: &'a [u8] }
        20 Flow { active: bool }
        21 FlowOk { active: bool }
        40 Close<'a> { reply_code: u16, reply_text: &'a str, class_id: u16, method_id: u16 }
        41 CloseOk {}
    }
    40 exchange Exchange<'a> {
        10 Declare<'a> {
            ticket: u16, exchange: &'a str, kind: &'a str, passive: bool, durable: bool, auto_delete: bool,
            internal: bool, no_wait: bool, arguments: Table<'a>
        }
        11 DeclareOk {}
        20 Delete<'a> { ticket: u16, exchange: &'a str, if_unused: bool, no_wait: bool }
        21 DeleteOk {}
        30 Bind<'a> {
            ticket: u16, destination: &'a str, source: &'a str, routing_key: &'a str, no_wait: bool,
            arguments: Table<'a>
        }
        31 BindOk {}
        40 Unbind<'a> {
            ticket: u16, destination: &'a str, source: &'a str, routing_key: &'a str, no_wait: bool,
            arguments: Table<'a>
        }
        51 UnbindOk {}
    }
    50 queue Queue<'a> {
        10 Declare<'a> {
            ticket: u16, queue: &'a str, passive: bool, durable: bool, exclusive: bool, auto_delete: bool,
            no_wait: bool, arguments: Table<'a>
        }
        11 DeclareOk<'a> { queue: &'a str, message_count: u32, consumer_count: u32 }
        20 Bind<'a> {
            ticket: u16, queue: &'a str, exchange: &'a str, routing_key: &'a str, no_wait: bool,
            arguments: Table<'a>
        }
        21 BindOk {}
        30 Purge<'a> { ticket: u16, queue: &'a str, no_wait: bool }
        31 PurgeOk { message_count: u32 }
        40 Delete<'a> { ticket: u16, queue: &'a str, if_unused: bool, if_empty: bool, no_wait: bool }
        41 DeleteOk { message_count: u32 }
        50 Unbind<'a> {
            ticket: u16, queue: &'a str, exchange: &'a str, routing_key: &'a str, arguments: Table<'a>
        }
        51 UnbindOk {}
    }
    60 basic Basic<'a> {
        10 Qos { prefetch_size: u32, prefetch_count: u16, global: bool }
        11 QosOk {}
        20 Consume<'a> {
            ticket: u16, queue: &'a str, consumer_tag: &'a str, no_local: bool, no_ack: bool, exclusive: bool,
            no_wait: bool, arguments: Table<'a>
        }
        21 ConsumeOk<'a> { consumer_tag: &'a str }
        30 Cancel<'a> { consumer_tag: &'a str, no_wait: bool }
        31 CancelOk<'a> { consumer_tag: &'a str }
        40 Publish<'a> {
            ticket: u16, exchange: &'a str, routing_key: &'a str, mandatory: bool, immediate: bool
        }
        50 Return<'a> { reply_code: u16, reply_text: &'a str, exchange: &'a str, routing_key: &'a str }
        60 Deliver<'a> {
            consumer_tag: &'a str, delivery_tag: u64, redelivered: bool, exchange: &'a str, routing_key: &'a str
        }
        70 Get<'a> { ticket: u16, queue: &'a str, no_ack: bool }
        71 GetOk<'a> {
            delivery_tag: u64, redelivered: bool, exchange: &'a str, routing_key: &'a str, message_count: u32
        }
        72 GetEmpty<'a> { cluster_id: &'a str }
        80 Ack { delivery_tag: u64, multiple: bool }
        90 Reject { delivery_tag: u64, requeue: bool }
        100 RecoverAsync { requeue: bool }
        110 Recover { requeue: bool }
        111 RecoverOk {}
        120 Nack { delivery_tag: u64, multiple: bool, requeue: bool }
    }
    85 confirm Confirm {
        10 Select { no_wait: bool }
        11 SelectOk {}
    }
    90 tx Tx {
        10 Select {}
        11 SelectOk {}
        20 Commit {}
        21 CommitOk {}
        30 Rollback {}
        31 RollbackOk {}
    }
}
