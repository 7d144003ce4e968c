//! A system's HTTP side: the system's own routes, with what every system has.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use leveret_bus::{Bus, Outbox};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::metrics::{self, Metrics};
use crate::{Problem, Turns, guard, health, openapi, page, request_key};

const PURGE_EVERY: Duration = Duration::from_secs(600);

/// What the shared routes need to know of a system. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) openapi: &'static str,
    pub(crate) bus: Bus,
    pub(crate) db: DatabaseConnection,
    pub(crate) outbox: Option<Outbox>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
}

impl Site {
    /// The site of a system. Makes the table of request keys where there is none.
    pub(crate) async fn open(
        name: &'static str,
        openapi: &'static str,
        bus: Bus,
        db: DatabaseConnection,
        outbox: Option<Outbox>,
        stop: CancellationToken,
    ) -> Result<Self, leveret_bus::Error> {
        request_key::MIGRATIONS.run(&db).await?;
        let metrics = Arc::new(Metrics::new());
        Ok(Self { name, openapi, bus, db, outbox, metrics, stop })
    }

    /// Adds to a system's own routes: `/health`, `/ready`, `/metrics`, `/openapi.json`, what pages load, an answer for
    /// what is not there, and the guards that every request passes.
    fn complete(self, routes: Router) -> Router {
        let openapi = openapi::document(self.openapi);
        let document = async move || ([(header::CONTENT_TYPE, "application/json")], openapi);
        let shared = Router::new()
            .route("/health", get(health::alive))
            .route("/ready", get(health::ready))
            .route("/metrics", get(metrics::show))
            .with_state(self.clone());
        routes
            .merge(shared)
            .route("/openapi.json", get(document))
            .route("/style.css", get(page::style))
            .route("/live.js", get(page::live_script))
            .route("/patch.js", get(page::patch_script))
            .fallback(async || Problem::not_found("there is no such page"))
            .method_not_allowed_fallback(async || {
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take that method")
            })
            .layer(from_fn_with_state(self.clone(), request_key::heed))
            .layer(from_fn(guard::refuse_foreign_pages))
            .layer(from_fn(guard::take_body))
            .layer(from_fn(guard::guard_page))
            .layer(from_fn_with_state(self, guard::follow))
    }
}

/// Serves a site until its `stop`, then finishes what is open.
pub(crate) fn serve(listener: TcpListener, site: Site, routes: Router) -> JoinHandle<()> {
    let stop = site.stop.clone();
    let purging = purge(site.db.clone(), stop.clone());
    let serving = axum::serve(listener, site.complete(routes)).with_graceful_shutdown(stop.cancelled_owned());
    tokio::spawn(async move {
        let (served, ()) = tokio::join!(serving.into_future(), purging);
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP server ended");
        }
    })
}

async fn purge(db: DatabaseConnection, stop: CancellationToken) {
    let mut turns = Turns::every(PURGE_EVERY, stop);
    while turns.next().await {
        request_key::purge(&db).await;
    }
}
