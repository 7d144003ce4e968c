//! The page: orders as they flow, and a form to place them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use leveret_web::page::{self, Lang};
use leveret_web::parked::Shelf;
use leveret_web::{Board, Problem};
use maud::{Markup, html};
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use crate::desk::{Desk, Flow, Found, State};
use crate::store;

const SHOWN: u64 = 40;

/// The system's page.
#[derive(Clone)]
pub(crate) struct Pages {
    desk: Desk,
    board: Board<Snapshot>,
}

#[derive(Clone, Debug, Default)]
struct Snapshot {
    flow: Flow,
    orders: Vec<Found>,
    parked: Shelf,
    trouble: Option<String>,
}

impl Pages {
    pub(crate) fn start(desk: Desk, stop: &CancellationToken) -> Self {
        let gathering = desk.clone();
        let board = Board::start(Arc::clone(&desk.changed), stop.clone(), move |known| {
            let desk = gathering.clone();
            async move { gather(&desk, &known).await }
        });
        Self { desk, board }
    }

    pub(crate) fn routes(self) -> Router {
        Router::new().route("/", get(index)).route("/events", get(events)).with_state(self)
    }
}

/// `GET /`
async fn index(Shared(pages): Shared<Pages>, lang: Lang) -> Result<Html<String>, Problem> {
    let snapshot = gather(&pages.desk, &Snapshot::default()).await;
    let title = lang.say("Orders", "异步下单");
    Ok(Html(page::frame(lang, title, &form(lang), &live(&snapshot, lang)).into_string()))
}

/// `GET /events`
async fn events(Shared(pages): Shared<Pages>, lang: Lang) -> impl IntoResponse {
    pages.board.stream(move |snapshot| live(snapshot, lang))
}

async fn gather(desk: &Desk, known: &Snapshot) -> Snapshot {
    let mut snapshot = Snapshot::default();
    if let Err(error) = from_database(desk, &mut snapshot).await {
        snapshot.trouble = Some(error.to_string());
    }
    match Shelf::look(&desk.parked, &known.parked).await {
        Ok(parked) => snapshot.parked = parked,
        Err(error) => snapshot.trouble = Some(error.to_string()),
    }
    snapshot
}

async fn from_database(desk: &Desk, snapshot: &mut Snapshot) -> Result<(), DbErr> {
    snapshot.flow = desk.flow().await?;
    snapshot.orders = store::latest(&desk.db, SHOWN).await?.into_iter().map(Found::from).collect();
    Ok(())
}

fn form(lang: Lang) -> Markup {
    html! {
        p {
            (lang.say(
                "An order is accepted as soon as the broker has it on disk; workers write it to the database in their \
                 own time. One that is not paid in time closes by itself.",
                "消息队列落盘确认后订单即被接受，随后由工作进程批量写入数据库。超时未付款的订单自动关闭。",
            ))
        }
        form #order data-post="/orders" data-shows="order_no" {
            label { (lang.say("User id", "用户编号")) input name="userid" type="number" min="1" value="1" required; }
            button { (lang.say("Place an order", "下单")) }
            output role="status" {}
        }
    }
}

fn live(snapshot: &Snapshot, lang: Lang) -> Markup {
    html! {
        (page::trouble(lang, snapshot.trouble.as_deref(), 0))
        section {
            h2 { (lang.say("Flow", "流转")) }
            div .cards {
                (card(lang.say("accepted here", "已接受"), snapshot.flow.accepted))
                (card(lang.say("in the queue", "排队中"), snapshot.flow.waiting))
                (card(lang.say("created", "已创建"), snapshot.flow.created))
                (card(lang.say("paid", "已付款"), snapshot.flow.paid))
                (card(lang.say("closed", "已关闭"), snapshot.flow.closed))
            }
        }
        section {
            h2 { (lang.say("Last orders", "最新订单")) }
            @if snapshot.orders.is_empty() { p .empty { (lang.say("None yet.", "还没有订单。")) } }
            @for order in &snapshot.orders { (order_card(order, lang)) }
        }
        (snapshot.parked.show(lang))
    }
}

fn card(label: &str, count: u64) -> Markup {
    html! { article { (label) b { (count) } } }
}

fn order_card(order: &Found, lang: Lang) -> Markup {
    let (class, words) = match order.state {
        State::Accepted => ("queued", lang.say("accepted", "已接受")),
        State::Created => ("retrying", lang.say("created", "已创建")),
        State::Paid => ("sent", lang.say("paid", "已付款")),
        State::Closed => ("gave-up", lang.say("closed", "已关闭")),
    };
    html! {
        article {
            header {
                b { (order.order_no) }
                @if let Some(userid) = order.userid { span { (lang.say("user", "用户")) " " (userid) } }
                @if let Some(at_ms) = order.order_time { (page::moment(at_ms)) }
                span .badge.(class) { (words) }
            }
            @if order.state == State::Created {
                button data-method="POST" data-path={ "/orders/" (page::path_part(&order.order_no)) "/pay" } {
                    (lang.say("Pay", "付款"))
                }
            }
        }
    }
}
