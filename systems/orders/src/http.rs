//! The routes. What they do is decided in `desk.rs`.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt, stream};
use leveret_web::input::{Fields, Id};
use leveret_web::{Answer, Problem, RequestKey, Turns};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::desk::{self, Desk, Flow, Found};
use crate::store;

pub(crate) const OPENAPI: &str = include_str!("openapi.json");

const LISTED: u64 = 100;
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone)]
struct App {
    desk: Desk,
    stop: CancellationToken,
}

pub(crate) fn routes(desk: Desk, stop: &CancellationToken) -> Router {
    Router::new()
        .route("/orders", get(list).post(place))
        .route("/flow", get(flow))
        .route("/orders/{order_no}", get(show))
        .route("/orders/{order_no}/pay", post(pay))
        .route("/orders/{order_no}/events", get(events))
        .with_state(App { desk, stop: stop.clone() })
}

/// `POST /orders {"userid"}`
async fn place(State(app): State<App>, key: RequestKey, fields: Fields) -> Result<Answer, Problem> {
    let userid = fields.integer("userid")?;
    if userid < 1 {
        return Err(Problem::field("userid", "must be a number from 1"));
    }
    let order_no = app.desk.accept(userid, key.text()).await?;
    let place = format!("/orders/{order_no}");
    Ok(Answer::new(StatusCode::ACCEPTED, json!({ "order_no": order_no, "state": "accepted" })).at(place))
}

/// `GET /orders`: the last written, newest first.
async fn list(State(app): State<App>) -> Result<Json<Vec<Found>>, Problem> {
    let rows = store::latest(&app.desk.db, LISTED).await?;
    Ok(Json(rows.into_iter().map(Found::from).collect()))
}

/// `GET /flow`: how many orders are where.
async fn flow(State(app): State<App>) -> Result<Json<Flow>, Problem> {
    Ok(Json(app.desk.flow().await?))
}

/// `GET /orders/{order_no}`
async fn show(State(app): State<App>, Id(order_no): Id<String>) -> Result<Json<Found>, Problem> {
    app.desk.find(&order_no).await?.map(Json).ok_or_else(none)
}

/// `POST /orders/{order_no}/pay`
async fn pay(State(app): State<App>, Id(order_no): Id<String>) -> Result<Json<Found>, Problem> {
    Ok(Json(app.desk.pay(&order_no).await?))
}

/// `GET /orders/{order_no}/events`: each state as it is reached; ends when there can be no other.
async fn events(
    State(app): State<App>,
    Id(order_no): Id<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    app.desk.find(&order_no).await?.ok_or_else(none)?;
    let watch = Watch { turns: Turns::every(LOOK_EVERY, app.stop), desk: app.desk, order_no, last: None };
    let states = stream::unfold(watch, Watch::next);
    let events = states.filter_map(async |found| Event::default().json_data(&found).ok().map(Ok));
    Ok(Sse::new(Box::pin(events)).keep_alive(KeepAlive::default()))
}

/// Somebody who follows one order.
struct Watch {
    desk: Desk,
    order_no: String,
    last: Option<desk::State>,
    turns: Turns,
}

impl Watch {
    async fn next(mut self) -> Option<(Found, Self)> {
        if matches!(self.last, Some(desk::State::Paid | desk::State::Closed)) {
            return None;
        }
        while self.turns.next().await {
            // A database that cannot be reached now is asked again.
            let Ok(Some(found)) = self.desk.find(&self.order_no).await else { continue };
            if self.last != Some(found.state) {
                self.last = Some(found.state);
                return Some((found, self));
            }
        }
        None
    }
}

fn none() -> Problem {
    Problem::not_found("there is no such order")
}
