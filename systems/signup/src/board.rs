//! What the page shows.

use leveret_web::parked::Shelf;

use crate::mail::MailFile;
use crate::signup::Signup;
use crate::view::User;

const USERS_SHOWN: u64 = 30;
const MAILS_SHOWN: usize = 30;

/// Everything on the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) users: Vec<User>,
    pub(crate) parked: Shelf,
    pub(crate) mails: Vec<MailFile>,
    pub(crate) unsent: u64,
    /// What could not be asked, in words.
    pub(crate) trouble: Option<String>,
}

/// Gathers what can be had; what cannot is named in `trouble`.
pub(crate) async fn gather(signup: &Signup, known: &Snapshot) -> Snapshot {
    let mut snapshot = Snapshot::default();
    if let Err(error) = from_database(signup, &mut snapshot).await {
        snapshot.trouble = Some(error.to_string());
    }
    match Shelf::look(&signup.parked, &known.parked).await {
        Ok(parked) => snapshot.parked = parked,
        Err(error) => snapshot.trouble = Some(error.to_string()),
    }
    match signup.mails.latest(MAILS_SHOWN).await {
        Ok(mails) => snapshot.mails = mails,
        Err(error) => snapshot.trouble = Some(error.to_string()),
    }
    snapshot
}

async fn from_database(signup: &Signup, snapshot: &mut Snapshot) -> Result<(), leveret_bus::Error> {
    snapshot.users = signup.latest_users(USERS_SHOWN).await?;
    snapshot.unsent = signup.outbox.depth().await?.unsent;
    Ok(())
}
