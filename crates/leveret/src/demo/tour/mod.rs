//! The tour: what the three systems are for, each through trouble of its own, at the same time. What happens is told
//! as it happens, and what came out of it is checked.

mod orders;
mod signup;
mod transfer;

use super::stage::Stage;
use super::story::Story;
use crate::failure::Failure;

/// Walks through all of it, and tells it.
pub(super) async fn walk(stage: &Stage, story: &Story) -> Result<(), Failure> {
    tokio::try_join!(
        signup::walk(stage, story.of("sign-up")),
        transfer::walk(stage, story.of("transfer")),
        orders::walk(stage, story.of("orders")),
    )?;
    Ok(())
}
