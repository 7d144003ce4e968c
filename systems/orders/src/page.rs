//! The page: orders as they flow, and a form to place them.

use leveret_web::page::{self, Lang};
use leveret_web::{Page, Trouble};
use maud::{Markup, html};

use crate::desk::{Desk, Flow, Found, State};
use crate::store;

const SHOWN: u64 = 40;

/// What the page shows.
#[derive(Default)]
pub(crate) struct Shown {
    flow: Flow,
    orders: Vec<Found>,
}

/// The desk's page.
#[derive(Clone)]
pub(crate) struct DeskPage(pub(crate) Desk);

impl Page for DeskPage {
    type Shown = Shown;

    fn title(&self, lang: Lang) -> &'static str {
        lang.say("Orders", "异步下单")
    }

    async fn gather(&self, trouble: &mut Trouble) -> Shown {
        let flow = trouble.note(self.0.flow().await);
        let orders = trouble.note(store::latest(&self.0.db, SHOWN).await);
        Shown { flow, orders: orders.into_iter().map(Found::from).collect() }
    }

    fn forms(&self, lang: Lang) -> Markup {
        form(lang)
    }

    fn live(&self, shown: &Shown, lang: Lang) -> Markup {
        live(shown, lang)
    }
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

fn live(shown: &Shown, lang: Lang) -> Markup {
    html! {
        section {
            h2 { (lang.say("Flow", "流转")) }
            div .cards {
                (page::card(lang.say("accepted here", "已接受"), shown.flow.accepted))
                (page::card(lang.say("in the queue", "排队中"), shown.flow.waiting))
                (page::card(lang.say("created", "已创建"), shown.flow.created))
                (page::card(lang.say("paid", "已付款"), shown.flow.paid))
                (page::card(lang.say("closed", "已关闭"), shown.flow.closed))
            }
        }
        section {
            h2 { (lang.say("Last orders", "最新订单")) }
            @if shown.orders.is_empty() { p .empty { (lang.say("None yet.", "还没有订单。")) } }
            @for order in &shown.orders { (order_card(order, lang)) }
        }
    }
}

fn order_card(order: &Found, lang: Lang) -> Markup {
    let (class, words) = match order.state {
        State::Accepted => ("queued", lang.say("accepted", "已接受")),
        State::Created => ("retrying", lang.say("created", "已创建")),
        State::Paid => ("sent", lang.say("paid", "已付款")),
        State::Closed => ("gave-up", lang.say("closed", "已关闭")),
    };
    html! {
        article data-key=(order.order_no) {
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
