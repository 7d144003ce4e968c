//! What a page shows, gathered once for all who look, and only while somebody does; and its stream of changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive, KeepAliveStream};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use maud::Markup;
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

/// Changes made by other processes show after this long; those of this one at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// However much changes, nobody reads faster than this.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// The live part of a page, each time that it has changed.
pub(crate) type Changes = BoxStream<'static, Result<Event, Infallible>>;

/// Where pages get what they show.
pub(crate) struct Board<T> {
    latest: watch::Sender<Arc<T>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
}

impl<T> Clone for Board<T> {
    fn clone(&self) -> Self {
        Self { latest: self.latest.clone(), changed: Arc::clone(&self.changed), stop: self.stop.clone() }
    }
}

impl<T: Default + Send + Sync + 'static> Board<T> {
    /// Starts gathering when `changed` says so, or a second has passed; ends with `stop`. `gather` is given what it
    /// found the last time.
    pub(crate) fn start<G, F>(changed: Arc<Notify>, stop: CancellationToken, gather: G) -> Self
    where
        G: Fn(Arc<T>) -> F + Send + Sync + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let board = Self { latest: watch::Sender::default(), changed, stop };
        tokio::spawn(board.clone().run(gather));
        board
    }

    async fn run<G, F>(self, gather: G)
    where
        G: Fn(Arc<T>) -> F + Send + Sync + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.changed.notified() => {}
                _ = looks.tick() => {}
            }
            if self.latest.receiver_count() > 0 {
                let known = Arc::clone(&self.latest.borrow());
                self.latest.send_replace(Arc::new(gather(known).await));
                sleep(LEAST_PAUSE).await;
            }
        }
    }

    /// The stream that a page listens to (server-sent events): each event is the whole live part in HTML, sent when it
    /// has changed. Ends with the server.
    pub(crate) fn stream(
        &self,
        render: impl Fn(&T) -> Markup + Send + 'static,
    ) -> Sse<KeepAliveStream<Changes>> {
        let mut receiver = self.latest.subscribe();
        receiver.mark_unchanged();
        self.changed.notify_one();
        let mut shown = String::new();
        let changes = WatchStream::from_changes(receiver).filter_map(move |snapshot| {
            let html = render(&snapshot).into_string();
            let is_new = html != shown;
            if is_new {
                shown.clone_from(&html);
            }
            std::future::ready(is_new.then(|| Ok(Event::default().data(html))))
        });
        let until_the_end = changes.take_until(self.stop.clone().cancelled_owned());
        Sse::new(until_the_end.boxed()).keep_alive(KeepAlive::default())
    }
}
