//! The page that leads to everything: the story of the tour, the systems, and the mail server's trouble to be made
//! again at will.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use leveret_mailserver::ScriptedMailServer;
use leveret_web::page::Lang;
use maud::{DOCTYPE, Markup, html};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::story::{Kind, Line, Story};

/// The page, being served.
pub(super) struct Page {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What the page shows.
pub(super) struct Shown {
    pub(super) story: Story,
    pub(super) signup_url: String,
    pub(super) a_url: String,
    pub(super) b_url: String,
    pub(super) orders_url: String,
    pub(super) amqp_url: String,
    pub(super) management_url: Option<String>,
    pub(super) mail_server: ScriptedMailServer,
}

impl Page {
    pub(super) async fn start(address: SocketAddr, shown: Shown) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/", get(index))
            .route("/style.css", get(style))
            .route("/refuse/{count}", post(refuse))
            .layer(middleware::from_fn(guard))
            .with_state(Arc::new(shown));
        let task = tokio::spawn(async move {
            if let Err(error) = serve(listener, router).await {
                tracing::error!(%error, "the page ended");
            }
        });
        Ok(Self { address, task })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

async fn index(State(shown): State<Arc<Shown>>, lang: Lang) -> Html<String> {
    Html(whole(&shown, lang).into_string())
}

fn whole(shown: &Shown, lang: Lang) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content="2";
                title { "Leveret" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="data:,";
            }
            body {
                header {
                    h1 { "Leveret" }
                    a href={ "/?lang=" (lang.say("zh", "en")) } { (lang.say("中文", "English")) }
                }
                p {
                    (lang.say("Three systems on a message broker. AMQP clients reach it at", "一个消息中间件上的三个系统。AMQP客户端的连接地址："))
                    " " code { (shown.amqp_url) } (lang.say(".", "。"))
                    @if let Some(url) = &shown.management_url {
                        " " a href=(url) { (lang.say("Open its management", "打开管理页面")) }
                    }
                }
                (signup(&shown.signup_url, lang))
                (transfer(&shown.a_url, &shown.b_url, lang))
                (orders(&shown.orders_url, lang))
                h2 { (lang.say("The tour", "演示过程")) }
                @if lang == Lang::Chinese { p { "与终端里讲述的相同，用英文：" } }
                ol lang="en" { @for line in shown.story.lines() { (story_line(&line)) } }
            }
        }
    }
}

fn signup(url: &str, lang: Lang) -> Markup {
    html! {
        h2 { (lang.say("Sign-up", "用户注册")) }
        p {
            (lang.say(
                "Who signs up gets a mail. A mail that fails comes back after 3, 6, 12 and 24 seconds; after the fifth failure \
                 it is parked, from where it can be sent again.",
                "注册成功后会收到一封邮件。发送失败的邮件在3、6、12、24秒后重发；第五次失败后不再发送，留待人工重试。",
            ))
            " " a href={ (url) "?lang=" (lang.code()) } { (lang.say("Open the sign-up page", "打开注册页面")) }
        }
        form method="post" {
            (lang.say("Let the mail server refuse", "让邮件服务器拒收：")) " "
            @for (count, mails) in [
                (1, lang.say("the next mail", "下一封邮件")),
                (2, lang.say("the next 2", "接下来的2封")),
                (5, lang.say("the next 5", "接下来的5封")),
            ] {
                button formaction={ "/refuse/" (count) "?lang=" (lang.code()) } { (mails) } " "
            }
        }
    }
}

fn transfer(a_url: &str, b_url: &str, lang: Lang) -> Markup {
    html! {
        h2 { (lang.say("Transfer", "转账")) }
        p {
            (lang.say(
                "Money from company A to company B, with none made or lost: what is not confirmed in 30 seconds comes back.",
                "从A公司转账到B公司，钱不多也不少：30秒内没有确认的转账会退款。",
            ))
            " " a href={ (a_url) "?lang=" (lang.code()) } { (lang.say("Open company A", "打开A公司")) }
            (lang.say(", ", "、"))
            a href={ (b_url) "?lang=" (lang.code()) } { (lang.say("company B", "B公司")) }
        }
    }
}

fn orders(url: &str, lang: Lang) -> Markup {
    html! {
        h2 { (lang.say("Orders", "异步下单")) }
        p {
            (lang.say(
                "Accepted once the broker has them on disk, written in batches, closed by themselves when not paid.",
                "消息队列落盘确认后订单即被接受，随后批量写入数据库，超时未付款的自动关闭。",
            ))
            " " a href={ (url) "?lang=" (lang.code()) } { (lang.say("Open the orders page", "打开订单页面")) }
        }
    }
}

fn story_line(line: &Line) -> Markup {
    let class = match line.kind {
        Kind::Event => "event",
        Kind::Right => "right",
        Kind::Wrong => "wrong",
    };
    html! { li class=(class) { time { (format!("{:.2} s", line.seconds)) } " " (line.text) } }
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("style.css"))
}

async fn refuse(State(shown): State<Arc<Shown>>, Path(count): Path<u32>, lang: Lang) -> Redirect {
    shown.mail_server.fail_next(count);
    shown.story.tell(format!("The mail server will refuse the next mails: {count}."));
    Redirect::to(&format!("/?lang={}", lang.code()))
}

/// Keeps other sites' pages from changing anything here, and this one from loading anything from elsewhere.
async fn guard(request: Request, next: Next) -> Response {
    if leveret_web::is_foreign(&request) {
        return (StatusCode::FORBIDDEN, "only this page itself may do that").into_response();
    }
    let mut response = next.run(request).await;
    let policy =
        "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leveret_web::client::Client;

    use super::*;

    #[tokio::test]
    async fn it_speaks_both_languages_and_stays_with_the_one_that_was_chosen() {
        let folder = tempfile::tempdir().expect("a folder");
        let mail_server = ScriptedMailServer::start(folder.path(), 0).await.expect("a port");
        let shown = Shown {
            story: Story::begin(),
            signup_url: "http://signup/".into(),
            a_url: "http://a/".into(),
            b_url: "http://b/".into(),
            orders_url: "http://orders/".into(),
            amqp_url: "amqp://broker".into(),
            management_url: Some("http://management/".into()),
            mail_server,
        };
        let page = Page::start(([127, 0, 0, 1], 0).into(), shown).await.expect("a port");
        let client = Client::new(Duration::from_secs(20));
        let get =
            async |query: &str| client.get(&format!("{}{query}", page.url())).await.expect("a page").text();
        let (english, chinese) = (get("").await, get("?lang=zh").await);
        assert!(
            english.contains("Open the sign-up page") && english.contains("/refuse/2?lang=en"),
            "{english}"
        );
        assert!(chinese.contains("打开注册页面") && chinese.contains("http://a/?lang=zh"), "{chinese}");
        assert!(!chinese.contains("Open "), "{chinese}");
        let refusing =
            client.post(&format!("{}refuse/1?lang=zh", page.url()), &[], "").await.expect("an answer");
        assert_eq!(refusing.status, 303);
        assert!(get("?lang=zh").await.contains("The mail server will refuse"));
        page.stop();
    }
}
