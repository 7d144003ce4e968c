//! The page of either company: the money on both sides and in flight, the transfers, and forms to try it.

use std::time::Duration;

use leveret_web::client::{NoAnswer, Place};
use leveret_web::page::{self, Lang};
use leveret_web::{Page, Trouble};
use maud::{Markup, html};

use crate::books::{Books, Entry, Side, Status};
use crate::company::Company;

/// How long the other company may take to show its books.
const PEER_TIMEOUT: Duration = Duration::from_millis(800);

/// A company's page.
#[derive(Clone)]
pub(crate) struct CompanyPage {
    company: Company,
    peer: Option<Place>,
}

/// What it shows: this company's books, and the other's where it is known.
#[derive(Default)]
pub(crate) struct Shown {
    a: Option<Books>,
    b: Option<Books>,
}

impl CompanyPage {
    pub(crate) fn new(company: &Company, peer: Option<&str>) -> Self {
        Self { company: company.clone(), peer: peer.map(|url| Place::new(url, PEER_TIMEOUT)) }
    }

    async fn books_of(&self, side: Side) -> Result<Option<Books>, NoAnswer> {
        if side == self.company.side {
            let mine = self.company.books().await;
            return mine.map(Some).map_err(|error| NoAnswer::because(error.to_string()));
        }
        match &self.peer {
            Some(peer) => peer.get("books").await.map(Some),
            None => Ok(None),
        }
    }
}

impl Page for CompanyPage {
    type Shown = Shown;

    fn title(&self, lang: Lang) -> &'static str {
        match self.company.side {
            Side::A => lang.say("Transfers: company A", "转账：A公司"),
            Side::B => lang.say("Transfers: company B", "转账：B公司"),
        }
    }

    fn forms(&self, lang: Lang) -> Markup {
        html! {
            p { (intro(self.company.side, lang)) }
            @if self.company.side == Side::A {
                form #transfer data-post="/transfers" data-shows="tid" data-clears="1" {
                    (name_field("from", lang.say("From (A)", "付款人（A）")))
                    (name_field("to", lang.say("To (B)", "收款人（B）")))
                    (money_field(lang))
                    button { (lang.say("Transfer", "转账")) }
                    output role="status" {}
                }
            }
            details {
                summary { (lang.say("Open an account", "开户")) }
                form #account data-post="/users" data-shows="name" data-clears="1" {
                    (name_field("name", lang.say("Name", "用户名")))
                    (money_field(lang))
                    button { (lang.say("Open", "开户")) }
                    output role="status" {}
                }
            }
        }
    }

    /// B's books are read before A's, so that what is in flight is never less than nothing.
    async fn gather(&self, trouble: &mut Trouble) -> Shown {
        let b = trouble.note(self.books_of(Side::B).await);
        Shown { a: trouble.note(self.books_of(Side::A).await), b }
    }

    fn live(&self, Shown { a, b }: &Shown, lang: Lang) -> Markup {
        html! {
            @if let (Some(a), Some(b)) = (a, b) { (invariant(a, b, lang)) }
            div .columns {
                @if let Some(books) = a { (company(books, lang)) }
                @if let Some(books) = b { (company(books, lang)) }
            }
        }
    }
}

fn intro(side: Side, lang: Lang) -> &'static str {
    match side {
        Side::A => lang.say(
            "Money leaves here with a log row and a message, in one transaction. B credits it only after this \
             side has said success; what is not confirmed in time comes back.",
            "扣款、日志和消息在同一个事务里写入。B公司只有在这边回答 success 之后才入账；超时未确认的钱会退回。",
        ),
        Side::B => lang.say(
            "A transfer that arrives is recorded, then asked about, and credited once A has said success.",
            "收到的转账先登记，再回调询问A公司，A回答 success 之后才入账。",
        ),
    }
}

fn name_field(name: &str, label: &str) -> Markup {
    html! { label { (label) input name=(name) required maxlength="64"; } }
}

fn money_field(lang: Lang) -> Markup {
    html! {
        label {
            (lang.say("Money", "金额"))
            input name="money" type="number" min="0.01" step="0.01" required data-unit="cents";
        }
    }
}

/// The sum that never changes.
fn invariant(a: &Books, b: &Books, lang: Lang) -> Markup {
    let in_flight = Books::in_flight(a, b);
    let sum = a.balances.saturating_add(b.balances).saturating_add(in_flight);
    let holds = Books::balance(a, b);
    html! {
        section {
            h2 { (lang.say("No money is made or lost", "钱不多也不少")) }
            div .cards {
                (page::card(lang.say("at A", "A公司"), page::money(a.balances)))
                (page::card(lang.say("in flight", "在途"), page::money(in_flight)))
                (page::card(lang.say("at B", "B公司"), page::money(b.balances)))
                article #sum {
                    (lang.say("sum", "合计"))
                    b { (page::money(sum)) }
                    @if holds {
                        span .ok { (lang.say("as was put in", "与存入相同")) }
                    } @else {
                        span .failed { (lang.say("not what was put in", "与存入不同")) }
                    }
                }
            }
        }
    }
}

fn company(books: &Books, lang: Lang) -> Markup {
    html! {
        section {
            h2 { (lang.say("Company", "公司")) " " (books.company.name()) }
            @if books.accounts.is_empty() { p .empty { (lang.say("No accounts yet.", "还没有账户。")) } }
            table {
                @for account in &books.accounts {
                    tr data-key=(account.name) { td { (account.name) } td .number { (page::money(account.money)) } }
                }
            }
            @for entry in &books.transfers { (transfer(entry, books.company, lang)) }
        }
    }
}

fn transfer(entry: &Entry, side: Side, lang: Lang) -> Markup {
    let (class, words) = match (entry.status, side) {
        (Status::Pending, Side::A) => ("retrying", lang.say("waiting", "等待中")),
        (Status::Pending, Side::B) => ("retrying", lang.say("prepared", "已登记")),
        (Status::Ok, Side::A) => ("sent", lang.say("confirmed", "已确认")),
        (Status::Ok, Side::B) => ("sent", lang.say("credited", "已入账")),
        (Status::Failed, _) if entry.is_back => ("gave-up", lang.say("refunded", "已退款")),
        (Status::Failed, _) => ("gave-up", lang.say("failed", "失败")),
    };
    html! {
        article data-key=(entry.transfer.tid) {
            header {
                b { "#" (entry.transfer.tid) }
                span { (entry.transfer.from) " → " (entry.transfer.to) }
                span { (page::money(entry.transfer.money)) }
                (page::moment(entry.updated_ms))
                span .badge.(class) { (words) }
            }
        }
    }
}
