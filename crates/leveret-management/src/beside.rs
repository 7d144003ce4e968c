//! Work that takes long where there is much, done beside the workers, which have messages to move.

use crate::error::Refusal;

pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::Unavailable(error.to_string()))?
}
