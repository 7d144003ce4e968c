//! The page of either company: the money on both sides and in flight, the transfers, and forms to try it.

use std::time::Duration;

use leveret_web::client::{Client, NoAnswer};
use leveret_web::page::{self, Lang};
use leveret_web::{Page, Trouble};
use maud::{Markup, html};

use crate::books::{Account, Books, Entry, Status};
use crate::company::{Company, Side};

/// How long the other company may take to show its books.
const PEER_TIMEOUT: Duration = Duration::from_millis(800);

/// A company's page.
#[derive(Clone)]
pub(crate) struct CompanyPage {
    company: Company,
    peer: Option<String>,
    client: Client,
}

/// What it shows: this company's books, and the other's where it is known.
#[derive(Default)]
pub(crate) struct Shown {
    mine: Books,
    peer: Option<Books>,
}

impl CompanyPage {
    pub(crate) fn new(company: &Company, peer: Option<&str>) -> Self {
        let peer = peer.map(|url| format!("{}/books", url.trim_end_matches('/')));
        Self { company: company.clone(), peer, client: Client::new(PEER_TIMEOUT) }
    }

    async fn peer_books(&self) -> Result<Option<Books>, NoAnswer> {
        let Some(url) = &self.peer else { return Ok(None) };
        self.client.get(url).await?.json().map(Some)
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
        forms(self.company.side, lang)
    }

    /// B's books are read before A's, so that what is in flight is never less than nothing.
    async fn gather(&self, trouble: &mut Trouble) -> Shown {
        let (mine, peer) = match self.company.side {
            Side::A => {
                let peer = self.peer_books().await;
                (self.company.books().await, peer)
            }
            Side::B => (self.company.books().await, self.peer_books().await),
        };
        Shown { mine: trouble.note(mine), peer: trouble.note(peer) }
    }

    fn live(&self, shown: &Shown, lang: Lang) -> Markup {
        let (a, b) = match self.company.side {
            Side::A => (Some(&shown.mine), shown.peer.as_ref()),
            Side::B => (shown.peer.as_ref(), Some(&shown.mine)),
        };
        html! {
            @if let (Some(a), Some(b)) = (a, b) { (invariant(a, b, lang)) }
            div .columns {
                @for books in [a, b].into_iter().flatten() { (company(books, lang)) }
            }
        }
    }
}

fn forms(side: Side, lang: Lang) -> Markup {
    let is_a = side == Side::A;
    let intro = if is_a {
        lang.say(
            "Money leaves here with a log row and a message, in one transaction. B credits it only after this \
             side has said success; what is not confirmed in time comes back.",
            "扣款、日志和消息在同一个事务里写入。B公司只有在这边回答 success 之后才入账；超时未确认的钱会退回。",
        )
    } else {
        lang.say(
            "A transfer that arrives is recorded, then asked about, and credited once A has said success.",
            "收到的转账先登记，再回调询问A公司，A回答 success 之后才入账。",
        )
    };
    let cents = html! { input name="money" type="number" min="0.01" step="0.01" required data-unit="cents"; };
    html! {
        p { (intro) }
        @if is_a {
            form #transfer data-post="/transfers" data-shows="tid" data-clears="1" {
                label { (lang.say("From (A)", "付款人（A）")) input name="from" required maxlength="64"; }
                label { (lang.say("To (B)", "收款人（B）")) input name="to" required maxlength="64"; }
                label { (lang.say("Money", "金额")) (cents) }
                button { (lang.say("Transfer", "转账")) }
                output role="status" {}
            }
        }
        details {
            summary { (lang.say("Open an account", "开户")) }
            form #account data-post="/users" data-shows="name" data-clears="1" {
                label { (lang.say("Name", "用户名")) input name="name" required maxlength="64"; }
                label { (lang.say("Money", "金额")) (cents) }
                button { (lang.say("Open", "开户")) }
                output role="status" {}
            }
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
                (card(lang.say("at A", "A公司"), a.balances))
                (card(lang.say("in flight", "在途"), in_flight))
                (card(lang.say("at B", "B公司"), b.balances))
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

fn card(label: &str, cents: i64) -> Markup {
    html! { article { (label) b { (page::money(cents)) } } }
}

fn company(books: &Books, lang: Lang) -> Markup {
    html! {
        section {
            h2 { (lang.say("Company", "公司")) " " (books.company) }
            @if books.accounts.is_empty() { p .empty { (lang.say("No accounts yet.", "还没有账户。")) } }
            table { @for account in &books.accounts { (account_row(account)) } }
            @for entry in &books.transfers { (transfer(entry, &books.company, lang)) }
        }
    }
}

fn account_row(account: &Account) -> Markup {
    html! { tr { td { (account.name) } td .number { (page::money(account.money)) } } }
}

fn transfer(entry: &Entry, company: &str, lang: Lang) -> Markup {
    let (class, words) = match (entry.status, company) {
        (Status::Pending, "A") => ("retrying", lang.say("waiting", "等待中")),
        (Status::Pending, _) => ("retrying", lang.say("prepared", "已登记")),
        (Status::Ok, "A") => ("sent", lang.say("confirmed", "已确认")),
        (Status::Ok, _) => ("sent", lang.say("credited", "已入账")),
        (Status::Failed, "A") if entry.is_back => ("gave-up", lang.say("refunded", "已退款")),
        (Status::Failed, _) => ("gave-up", lang.say("failed", "失败")),
    };
    html! {
        article {
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
