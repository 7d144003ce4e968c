//! Publishing that ends with the broker's confirm. Messages wait in one queue; a few lanes take what has gathered
//! and send it, so that many callers share few round trips while each gets its own answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::error::PublishError;
use crate::lane::Lane;
use crate::link::Link;
use crate::message::Message;
use crate::meters;

/// How a publisher works. All have defaults that suit most.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    /// Channels used at once. Default 4. Messages of different lanes may overtake each other; those of one
    /// [`publish_all`](Publisher::publish_all) share a lane and do not.
    pub lanes: usize,
    /// Most messages that a lane has unconfirmed at a time. Default 512.
    pub window: usize,
    /// How long a publish may take in all, waiting for a connection included. Default 30 s.
    pub timeout: Duration,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        Self { lanes: 4, window: 512, timeout: Duration::from_secs(30) }
    }
}

/// How much later than its deadline a lane may answer before the caller is told without it: one that waits for a later
/// message of the same round does not.
const GRACE: Duration = Duration::from_millis(100);

/// The answer to one publish.
pub(crate) type Answer = Result<(), PublishError>;

/// A message and where its answer goes.
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) answer: oneshot::Sender<Answer>,
    pub(crate) started: Instant,
    pub(crate) deadline: Instant,
}

/// Messages that go through one lane, in this order.
pub(crate) type Job = Vec<Item>;

/// Publishes with confirms. Cheap to clone; all clones share the lanes.
#[derive(Clone)]
pub struct Publisher {
    jobs: mpsc::Sender<Job>,
    timeout: Duration,
}

impl Publisher {
    pub(crate) fn start(link: &Arc<Link>, options: &PublisherOptions) -> Self {
        let (jobs, queue) = mpsc::channel(options.window.max(1));
        let queue = Arc::new(Mutex::new(queue));
        let meters = Arc::new(meters::Publishing::new());
        for _ in 0..options.lanes.max(1) {
            let lane =
                Lane::new(Arc::clone(link), Arc::clone(&queue), options.window.max(1), Arc::clone(&meters));
            tokio::spawn(lane.run());
        }
        Self { jobs, timeout: options.timeout }
    }

    /// Publishes, and resolves once the broker has confirmed: for a persistent message on durable queues,
    /// once it is on disk. While there is no connection it waits for one, up to the time-out.
    ///
    /// Dropping the future does not take the message back.
    ///
    /// # Errors
    /// [`PublishError`] says which of the possible ends it was.
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        let message_id = message.message_id().to_owned();
        let started = Instant::now();
        let deadline = started + self.timeout;
        let (item, answer) = item(message, started, deadline);
        // When the lanes are gone the item is dropped, and with it the answer's sender.
        let answered = async {
            let _ = self.jobs.send(vec![item]).await;
            answer.await
        };
        answer_of(timeout_at(deadline + GRACE, answered).await, message_id)
    }

    /// Publishes several, in this order on one channel, and resolves with an answer for each once all
    /// have theirs.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Vec<Result<(), PublishError>> {
        self.publish_all_by(messages, Instant::now() + self.timeout).await
    }

    /// The same with a deadline of its own, which is the time-out's at the latest.
    pub(crate) async fn publish_all_by(&self, messages: Vec<Message>, deadline: Instant) -> Vec<Answer> {
        let started = Instant::now();
        let deadline = deadline.min(started + self.timeout);
        let ids: Vec<_> = messages.iter().map(|message| message.message_id().to_owned()).collect();
        let items = messages.into_iter().map(|message| item(message, started, deadline));
        let (job, answers): (Job, Vec<_>) = items.unzip();
        let late = deadline + GRACE;
        let _ = timeout_at(late, self.jobs.send(job)).await;
        let mut results = Vec::with_capacity(ids.len());
        for (answer, message_id) in answers.into_iter().zip(ids) {
            results.push(answer_of(timeout_at(late, answer).await, message_id));
        }
        results
    }

    /// How long a publish may take in all.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn item(message: Message, started: Instant, deadline: Instant) -> (Item, oneshot::Receiver<Answer>) {
    let (answer, receiver) = oneshot::channel();
    (Item { message: message.traced(), answer, started, deadline }, receiver)
}

/// What a lane answered, or what is known without it.
fn answer_of(answered: Result<Result<Answer, RecvError>, Elapsed>, message_id: String) -> Answer {
    match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(PublishError::NotSent {
            message_id,
            cause: "no lane took it: the bus is closed or too busy".into(),
        }),
        Err(_) => Err(PublishError::Unknown { message_id, cause: "no confirm in time".into() }),
    }
}
