//! The web UI in a real browser, against the real binary. Whatever a page complains of in its console fails the test: an
//! error in a script, a violation of the content security policy, a request that was refused.

mod binary;

use binary::Broker;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret_testkit::{Browser, Width};
use serde_json::Value;

/// A browser that shows a broker's pages, signed in.
struct Stage {
    broker: Broker,
    browser: Browser,
    channel: Channel,
    _connection: Connection,
}

impl Stage {
    async fn open() -> Self {
        let broker = Broker::ours();
        let connection =
            Connection::connect(&broker.url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("opens a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let browser = Browser::start().await;
        let stage = Self { broker, browser, channel, _connection: connection };
        stage.sign_in().await;
        stage
    }

    async fn sign_in(&self) {
        self.browser.open(&self.address()).await;
        self.browser.fill("input[name=username]", "guest").await;
        self.browser.fill("input[name=password]", "guest").await;
        self.browser.press("Sign in").await;
        self.browser.read("Message rates").await;
    }

    fn address(&self) -> String {
        format!("http://{}/", self.broker.management())
    }

    /// Opens a page by what follows the `#`.
    async fn page(&self, page: &str) {
        self.browser.run(&format!("location.hash = '#/{page}'")).await;
    }

    async fn queue(&self, name: &str, arguments: &[(&str, &str)]) {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), AMQPValue::LongString((*value).into()));
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(name.into(), durable, table).await.expect("declares");
    }

    async fn publish(&self, queue: &str, body: &[u8]) {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        let sent = self.channel.basic_publish("".into(), queue.into(), options, body, properties).await;
        sent.expect("is sent").await.expect("is confirmed");
    }

    /// Ends the test: nothing may have been complained of.
    async fn close(self) {
        assert_eq!(self.browser.complaints().await, Vec::<String>::new());
        self.browser.close().await;
    }
}

#[tokio::test]
async fn wrong_passwords_are_refused_and_signing_out_ends_the_session() {
    let stage = Stage::open().await;
    let browser = &stage.browser;
    browser.press("Sign out").await;
    browser.fill("input[name=username]", "guest").await;
    browser.fill("input[name=password]", "wrong").await;
    browser.press("Sign in").await;
    browser.read("Wrong user name or password").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("401")), "{complaints:?}");
    // The cookie is out of reach for scripts, and without our header it counts for nothing.
    stage.sign_in().await;
    assert_eq!(browser.run("return document.cookie").await, Value::from(""));
    let foreign =
        "return fetch('/api/overview', {headers: {authorization: 'Bearer x'}}).then(it => it.status)";
    assert_eq!(browser.run(foreign).await, Value::from(401));
    assert_eq!(browser.run("return fetch('/api/session').then(it => it.json())").await, Value::Null);
    browser.complaints().await;
    stage.close().await;
}

#[tokio::test]
async fn a_message_is_published_peeked_at_and_purged() {
    let stage = Stage::open().await;
    stage.queue("orders", &[]).await;
    let browser = &stage.browser;
    stage.page("queues").await;
    browser.press("orders").await;
    browser.press("Publish a message").await;
    browser.fill("textarea[name=payload]", r#"{"order":7,"to":"Ann"}"#).await;
    browser.press("Publish").await;
    browser.read("Published.").await;
    stage.publish("orders", &[0, 255, 1, 2]).await;
    browser.press("Get messages").await;
    browser.read("\"order\": 7,").await;
    browser.read("000000  00 ff 01 02").await;
    browser.press("Purge").await;
    browser.read("Purge queue orders?").await;
    browser.press("Cancel").await;
    browser.until("return document.querySelector('dialog') === null").await;
    browser.press("Purge").await;
    browser.click("dialog button.danger").await;
    browser.read("Queue orders is empty.").await;
    browser.press("Get messages").await;
    browser.read("The queue has no message ready.").await;
    stage.close().await;
}

#[tokio::test]
async fn messages_move_and_dead_letters_go_back() {
    let stage = Stage::open().await;
    let fanout = lapin::ExchangeKind::Fanout;
    let declared = stage.channel.exchange_declare(
        "dlx".into(),
        fanout,
        ExchangeDeclareOptions::default(),
        FieldTable::default(),
    );
    declared.await.expect("declares");
    stage.queue("work", &[("x-dead-letter-exchange", "dlx")]).await;
    stage.queue("dead", &[]).await;
    stage.queue("other", &[]).await;
    let bound = stage.channel.queue_bind(
        "dead".into(),
        "dlx".into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("binds");
    for number in 0..3 {
        stage.publish("work", format!("number {number}").as_bytes()).await;
    }
    let browser = &stage.browser;
    stage.page("queues/%2F/work").await;
    browser.read("Get messages").await;
    browser.run("document.querySelector('select[name=ackmode]').value = 'reject_requeue_false'").await;
    browser.press("Get messages").await;
    browser.click("dialog button.danger").await;
    browser.read("number 2").await;
    // One that is no dead letter stays.
    stage.publish("dead", b"a stranger").await;
    stage.page("queues/%2F/dead").await;
    browser.read("Queue dead").await;
    browser.press("Replay dead letters").await;
    browser.click("dialog button.primary").await;
    browser.read("3 messages went back where they came from; 1 stayed.").await;
    stage.page("queues/%2F/work").await;
    browser.read("Queue work").await;
    browser.press("Move messages").await;
    browser.fill("dialog input[name=destination]", "other").await;
    browser.click("dialog button.primary").await;
    browser.read("3 messages moved to other.").await;
    stage.page("queues/%2F/other").await;
    browser.read("Queue other").await;
    browser.press("Get messages").await;
    browser.read("number 0").await;
    let text = browser.text().await;
    assert!(!text.contains("x-death"), "a replayed message begins anew:\n{text}");
    stage.close().await;
}

#[tokio::test]
async fn charts_show_what_was_before_their_page_was_opened() {
    let stage = Stage::open().await;
    stage.queue("orders", &[]).await;
    stage.publish("orders", b"one").await;
    let name = "return fetch('/api/channels', {headers: {'x-leveret-ui': '1'}}).then(it => it.json()) \
                .then(it => encodeURIComponent(it[0].name))";
    let channel = stage.browser.run(name).await.as_str().expect("a name").to_owned();
    let connection = channel.rsplit_once("%20").expect("a number").0;
    for (page, figure, title) in [
        ("queues/%2F/orders", "messages_details", "Messages waiting"),
        ("vhosts/%2F", "recv_oct_details", "Data rates"),
        (&format!("connections/{connection}"), "recv_oct_details", "Data rates"),
        (&format!("channels/{channel}"), "message_stats.publish_details", "Message rates"),
    ] {
        // Until three samples are told, one every five seconds: two of what a counter grows by.
        let samples = format!(
            "return fetch('/api/{page}?lengths_age=60&lengths_incr=5&data_rates_age=60&data_rates_incr=5\
             &msg_rates_age=60&msg_rates_incr=5', {{headers: {{'x-leveret-ui': '1'}}}}).then(it => it.json()) \
             .then(it => it.{figure}.samples.length > 2)"
        );
        stage.browser.until(&samples).await;
        stage.page(page).await;
        stage.browser.read(title).await;
        // Each of them has a line, and none is a point alone.
        let lines =
            "return [...document.querySelectorAll('.chart .line')].map(it => it.getAttribute('d')).join(' ')";
        let lines = stage.browser.run(lines).await;
        let lines: Vec<_> = lines.as_str().unwrap_or_default().split('M').skip(1).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.contains('L')), "{page}: {lines:?}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_queue_with_messages_goes_once_its_name_is_typed() {
    let stage = Stage::open().await;
    stage.queue("a-b", &[]).await;
    stage.publish("a-b", b"one").await;
    let browser = &stage.browser;
    stage.page("queues/%2F/a-b").await;
    browser.read("Consumer capacity").await;
    // Not by the mouse, of which other tests are: this one is of what is typed.
    browser.run("document.querySelector('main .toolbar button:last-child').click()").await;
    let answer = |name: &str| {
        format!(
            "document.querySelector('dialog input[name=typed]').value = '{name}'; \
             document.querySelector('dialog button.danger').click()"
        )
    };
    browser.run(&answer("a-c")).await;
    browser.until("return document.querySelector('dialog .error')?.textContent.includes('a-b')").await;
    browser.run(&answer("a-b")).await;
    browser.read("No queue is declared yet.").await;
    stage.page("queues/%2F/a-b").await;
    browser.read("It is not there, or not any more.").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("404")), "{complaints:?}");
    stage.close().await;
}

/// Every page, by its address and by what it says.
const PAGES: [(&str, &str); 16] = [
    ("overview", "Journal sync latency"),
    ("connections", "From client"),
    ("channels", "Prefetch"),
    ("exchanges", "amq.topic"),
    ("exchanges/%2F/amq.topic", "Publish a message"),
    ("queues", "a.queue.with.a.rather.long.name"),
    ("queues/%2F/a.queue.with.a.rather.long.name.that.goes.on", "Get messages"),
    ("delayed", "x-delayed-message"),
    ("bindings", "All bindings"),
    ("users", "guest"),
    ("users/guest", "Topic permissions"),
    ("vhosts", "New virtual host"),
    ("vhosts/%2F", "Data rates"),
    ("policies", "Operator policies"),
    ("limits", "No limit is set."),
    ("definitions", "Save as a file"),
];

#[tokio::test]
async fn every_page_fits_a_phone() {
    let stage = Stage::open().await;
    stage.queue("a.queue.with.a.rather.long.name.that.goes.on", &[]).await;
    stage.browser.resize(Width::Phone).await;
    for (page, text) in PAGES {
        stage.page(page).await;
        let is_there = format!("return document.querySelector('main').textContent.includes({text:?})");
        stage.browser.until(&is_there).await;
        assert_eq!(stage.browser.overflow().await, 0, "{page} is wider than a phone");
    }
    // The menu opens, and leads on.
    stage.browser.click(".menu-button").await;
    stage.browser.press("Logs").await;
    stage.browser.read("is ready").await;
    stage.close().await;
}

#[tokio::test]
async fn language_and_theme_change_and_are_kept() {
    let stage = Stage::open().await;
    let browser = &stage.browser;
    let background = "return getComputedStyle(document.body).backgroundColor";
    browser.run(&choose("theme", "light")).await;
    let light = browser.run(background).await;
    browser.run(&choose("theme", "dark")).await;
    assert_ne!(browser.run(background).await, light);
    browser.run(&choose("language", "zh")).await;
    browser.read("消息速率").await;
    browser.open(&stage.address()).await;
    browser.read("消息速率").await;
    assert_ne!(browser.run(background).await, light);
    assert_eq!(browser.run("return document.documentElement.lang").await, Value::from("zh"));
    stage.close().await;
}

#[tokio::test]
async fn refusals_are_said_in_chinese_with_the_brokers_words_beneath() {
    let stage = Stage::open().await;
    stage.queue("q", &[]).await;
    stage.publish("q", b"one").await;
    let browser = &stage.browser;
    browser.run(&choose("language", "zh")).await;
    browser.read("消息速率").await;
    stage.page("queues/%2F/q").await;
    browser.press("移动消息").await;
    browser.fill("dialog input[name=destination]", "nowhere").await;
    browser.click("dialog button.primary").await;
    browser.read("所指的对象不存在。").await;
    let beneath = "return document.querySelector('dialog .error small[lang=en]').textContent";
    let words = browser.run(beneath).await;
    assert_eq!(words, Value::from("destination: no queue 'nowhere' in vhost '/'"));
    browser.run("document.querySelector('dialog').close()").await;
    stage.page("queues/%2F/none").await;
    browser.read("它不存在，或已被删除。").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("400") || line.contains("404")), "{complaints:?}");
    stage.close().await;
}

#[tokio::test]
async fn a_protected_virtual_host_has_no_button_to_delete_it() {
    let stage = Stage::open().await;
    let browser = &stage.browser;
    stage.page("vhosts/%2F").await;
    browser.read("Default virtual host").await;
    browser.press("Change").await;
    browser.click("dialog input[name=protected_from_deletion]").await;
    browser.click("dialog button.primary").await;
    browser.read("Virtual host / is saved.").await;
    let buttons = "return document.querySelectorAll('main .toolbar button.danger').length";
    browser.until(&format!("{buttons} === 0")).await;
    browser.until("return document.querySelector('main .facts .badge')?.textContent === 'protected'").await;
    stage.close().await;
}

/// Chooses a value in the settings.
fn choose(select: &str, value: &str) -> String {
    format!(
        "const it = document.querySelector('select.{select}'); it.value = '{value}'; \
         it.dispatchEvent(new Event('change', {{bubbles: true}}))"
    )
}

/// Presses Tab until the element with that text has the focus.
async fn tab_to(browser: &Browser, text: &str) {
    for _ in 0..60 {
        browser.keys("\u{e004}").await;
        if browser.run("return document.activeElement.textContent.trim()").await == text {
            return;
        }
    }
    panic!("{text} is out of reach of the Tab key");
}

#[tokio::test]
async fn the_keyboard_reaches_what_matters() {
    let stage = Stage::open().await;
    stage.queue("keys", &[]).await;
    stage.publish("keys", b"hello").await;
    let browser = &stage.browser;
    browser.run("document.activeElement.blur()").await;
    tab_to(browser, "Skip to the content").await;
    tab_to(browser, "Queues").await;
    browser.keys("\u{e007}").await;
    browser.read("New queue").await;
    tab_to(browser, "keys").await;
    browser.keys("\u{e007}").await;
    browser.read("Get messages").await;
    tab_to(browser, "Purge").await;
    browser.keys("\u{e007}").await;
    browser.read("Purge queue keys?").await;
    // Escape closes the question, and the focus is back where it was.
    browser.keys("\u{e00c}").await;
    browser.until("return document.querySelector('dialog') === null").await;
    assert_eq!(browser.run("return document.activeElement.textContent").await, Value::from("Purge"));
    // What has the focus keeps it while the page is fetched anew.
    browser.run("document.dispatchEvent(new Event('visibilitychange'))").await;
    assert_eq!(browser.run("return document.activeElement.textContent").await, Value::from("Purge"));
    stage.close().await;
}
