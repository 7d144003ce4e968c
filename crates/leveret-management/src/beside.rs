//! Work that takes long where there is much, done beside the workers, which have messages to move.

use axum::body::{Body, Bytes};
use futures_util::stream;

use crate::error::Refusal;

pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::Unavailable(error.to_string()))?
}

/// The body of an answer of any length, of which nothing is made before the client has taken what comes before it.
pub(crate) fn in_pieces(pieces: impl Iterator<Item = Bytes> + Send + 'static) -> Body {
    Body::from_stream(stream::unfold(Some(pieces), async |pieces| {
        let mut pieces = pieces?;
        let made = tokio::task::spawn_blocking(move || (pieces.next(), pieces));
        match made.await {
            Ok((piece, rest)) => Some((Ok(piece?), Some(rest))),
            // Nobody is to take a part for the whole.
            Err(error) => Some((Err(error), None)),
        }
    }))
}
