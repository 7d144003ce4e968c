//! The methods that a broker sends, as types to expect by: `peer.expect::<queue::DeclareOk>(1)`.

use leveret_amqp::{Method, basic, channel, confirm, connection, exchange, queue, tx};

/// A method that a peer can expect. The type named has the lifetime `'static`, what comes has that of the peer's
/// buffer.
pub trait Answer {
    /// Its name, for messages.
    const NAME: &'static str;
    /// The same method with another lifetime.
    type In<'a>;

    /// The method, if it is this one.
    fn of(method: Method<'_>) -> Option<Self::In<'_>>;
}

macro_rules! answers {
    ($($class:ident $Class:ident { $($name:ident $(<$lt:lifetime>)?)* })*) => {$($(
        impl Answer for $class::$name $(<$lt>)? {
            const NAME: &'static str = concat!(stringify!($class), ".", stringify!($name));
            type In<'a> = answers!(@in $class $name $($lt)?);

            fn of(method: Method<'_>) -> Option<Self::In<'_>> {
                match method {
                    Method::$Class($class::Method::$name(method)) => Some(method),
                    _ => None,
                }
            }
        }
    )*)*};
    (@in $class:ident $name:ident $lt:lifetime) => { $class::$name<'a> };
    (@in $class:ident $name:ident) => { $class::$name };
}

answers! {
    connection Connection {
        Start<'static> Secure<'static> Tune OpenOk<'static> Close<'static> CloseOk Blocked<'static> Unblocked
        UpdateSecretOk
    }
    channel Channel { OpenOk<'static> Flow FlowOk Close<'static> CloseOk }
    exchange Exchange { DeclareOk DeleteOk BindOk UnbindOk }
    queue Queue { DeclareOk<'static> BindOk PurgeOk DeleteOk UnbindOk }
    basic Basic {
        QosOk ConsumeOk<'static> Cancel<'static> CancelOk<'static> Return<'static> Deliver<'static>
        GetOk<'static> GetEmpty<'static> Ack Nack RecoverOk
    }
    confirm Confirm { SelectOk }
    tx Tx { SelectOk CommitOk RollbackOk }
}
