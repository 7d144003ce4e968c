//! What a system shows: its own routes, its page with what every page has (trouble, what waits for the broker, what was
//! given up), and the routes of parked messages.

use std::fmt::Display;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use leveret_bus::{Outbox, Parked};
use maud::{Markup, html};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::page::{self, Lang};
use crate::parked::{self, Shelf};

/// A system's page.
pub trait Page: Clone + Send + Sync + 'static {
    /// What its live part shows.
    type Shown: Default + Send + Sync + 'static;

    /// Its title.
    fn title(&self, lang: Lang) -> &'static str;

    /// The part that stays as it is: what it is about, and forms to try it.
    fn forms(&self, lang: Lang) -> Markup;

    /// Gathers what the live part shows, once for all who look. What cannot be had is trouble.
    fn gather(&self, trouble: &mut Trouble) -> impl Future<Output = Self::Shown> + Send;

    /// The part that changes by itself.
    fn live(&self, shown: &Self::Shown, lang: Lang) -> Markup;
}

/// What could not be had for a page, in words.
#[derive(Debug, Default)]
pub struct Trouble(Option<String>);

impl Trouble {
    /// What was had; nothing where it was not, and the page says so.
    pub fn note<T: Default>(&mut self, had: Result<T, impl Display>) -> T {
        had.unwrap_or_else(|error| {
            self.0 = Some(error.to_string());
            T::default()
        })
    }
}

/// What a system brings along to be served.
pub struct Front<P> {
    /// Its part of the API's description: JSON with `info` and `paths`.
    pub openapi: &'static str,
    /// Its own routes.
    pub routes: Router,
    /// Its page.
    pub page: P,
    /// The messages that it gave up.
    pub parked: Parked,
    /// Its outbox, if it has one.
    pub outbox: Option<Outbox>,
    /// Told when there is something new to be seen.
    pub changed: Arc<Notify>,
}

impl<P: Page> Front<P> {
    /// All routes; the page's changes end with `stop`.
    pub(crate) fn routes(self, stop: &CancellationToken) -> Router {
        let gathering = Gathering { page: self.page, parked: self.parked.clone(), outbox: self.outbox };
        let again = gathering.clone();
        let board = Board::start(Arc::clone(&self.changed), stop.clone(), move |known| {
            let gathering = again.clone();
            async move { gathering.gather(&known).await }
        });
        let page = Router::new().route("/", get(index::<P>)).route("/events", get(events::<P>));
        let page = page.with_state(Arc::new(Site { gathering, board }));
        self.routes.merge(page).merge(parked::routes(self.parked, self.changed))
    }
}

struct Site<P: Page> {
    gathering: Gathering<P>,
    board: Board<Snapshot<P::Shown>>,
}

/// Where a page gets what it shows.
#[derive(Clone)]
struct Gathering<P> {
    page: P,
    parked: Parked,
    outbox: Option<Outbox>,
}

/// What a page shows.
#[derive(Default)]
struct Snapshot<T> {
    own: T,
    parked: Shelf,
    unsent: u64,
    trouble: Trouble,
}

/// `GET /`
async fn index<P: Page>(State(site): State<Arc<Site<P>>>, lang: Lang) -> Html<String> {
    let snapshot = site.gathering.gather(&Snapshot::default()).await;
    let page = &site.gathering.page;
    let live = live(page, &snapshot, lang);
    Html(page::frame(lang, page.title(lang), &page.forms(lang), &live).into_string())
}

/// `GET /events`: the page's live part, anew when it has changed.
async fn events<P: Page>(State(site): State<Arc<Site<P>>>, lang: Lang) -> impl IntoResponse {
    let page = site.gathering.page.clone();
    site.board.stream(move |snapshot| live(&page, snapshot, lang))
}

impl<P: Page> Gathering<P> {
    async fn gather(&self, known: &Snapshot<P::Shown>) -> Snapshot<P::Shown> {
        let mut trouble = Trouble::default();
        let own = self.page.gather(&mut trouble).await;
        let parked = trouble.note(Shelf::look(&self.parked, &known.parked).await);
        let unsent = match &self.outbox {
            Some(outbox) => trouble.note(outbox.depth().await.map(|depth| depth.unsent)),
            None => 0,
        };
        Snapshot { own, parked, unsent, trouble }
    }
}

fn live<P: Page>(page: &P, snapshot: &Snapshot<P::Shown>, lang: Lang) -> Markup {
    html! {
        @if let Some(trouble) = &snapshot.trouble.0 {
            p .trouble role="alert" { (lang.say("Not all can be shown:", "部分内容无法显示：")) " " (trouble) }
        }
        @if snapshot.unsent > 0 {
            p .note { (lang.say("Messages waiting for the broker:", "等待发往消息队列：")) " " (snapshot.unsent) }
        }
        (page.live(&snapshot.own, lang))
        (snapshot.parked.show(lang))
    }
}
