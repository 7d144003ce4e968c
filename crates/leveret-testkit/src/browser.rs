//! A headless Chromium with an empty profile, driven through chromedriver. What a page complains of in its console, a
//! violation of its content security policy among it, is there to be asserted on.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

/// How long something may take to appear.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);
/// How often chromedriver is started.
const STARTS: usize = 5;
/// Brings an element to the middle of the window, away from what sticks to its edges. Ends once the page is drawn as it is now.
const SHOW: &str = "const [element, drawn] = arguments; element.scrollIntoView({block: 'center'}); \
     requestAnimationFrame(() => requestAnimationFrame(() => drawn()));";
/// Clicks an element, unless it is disabled or something else is where somebody would click. In one go: with clicks of a
/// mouse, what is clicked may make way for another meanwhile, and Chromium may hold them back for so long that they hit
/// something else.
const CLICK: &str = "const [element] = arguments; \
     const [box] = element.getClientRects(); \
     const hit = box && document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2); \
     if (element.disabled || !hit || !element.contains(hit)) return false; \
     element.click(); return true;";

/// How wide a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1280 pixels.
    Desktop,
    /// 360 pixels, as on a small phone.
    Phone,
}

/// A browser. Panics where something does not happen in time, as everything here does.
pub struct Browser {
    client: Client,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts Chromium and chromedriver; both come from the system.
    ///
    /// # Panics
    /// Where they cannot be started.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder for the browser's profile");
        let (driver, port) = start_driver();
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--lang=en",
            "--window-size=1280,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object is written above") };
        let client = connect(port, capabilities).await;
        Self { client, driver, _profile: profile }
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// The element that a CSS selector finds, once it is there and visible.
    pub async fn see(&self, css: &str) -> Element {
        self.wait(css, async || {
            let found = self.client.find(Locator::Css(css)).await.ok()?;
            found.is_displayed().await.unwrap_or(false).then_some(found)
        })
        .await
    }

    /// Waits until the page's text contains that.
    pub async fn read(&self, text: &str) {
        let text_of_page = "return document.body.innerText";
        self.wait(text, async || self.look(text_of_page).await?.as_str()?.contains(text).then_some(())).await;
    }

    /// The text of the page as it is shown.
    pub async fn text(&self) -> String {
        let text = self.run("return document.body.innerText").await;
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Clicks what a CSS selector finds.
    pub async fn click(&self, css: &str) {
        self.wait(css, async || self.click_on(&self.see(css).await).await).await;
    }

    /// Clicks the visible button or link with that text.
    pub async fn press(&self, text: &str) {
        let found = format!(
            "//*[self::button or self::a or self::summary][normalize-space()={text:?} and not(ancestor::*[@hidden])]"
        );
        self.wait(text, async || {
            // What stands in a dialog comes last, and covers the rest.
            let all = self.client.find_all(Locator::XPath(&found)).await.ok()?;
            self.click_on(all.last()?).await
        })
        .await;
    }

    /// Types into the field that a CSS selector finds, instead of what it held.
    pub async fn fill(&self, css: &str, text: &str) {
        self.wait(css, async || {
            let field = self.see(css).await;
            field.clear().await.ok()?;
            field.send_keys(text).await.ok()
        })
        .await;
    }

    /// Sends keys to whatever has the focus.
    pub async fn keys(&self, keys: &str) {
        let focused = self.client.active_element().await.expect("something has the focus");
        focused.send_keys(keys).await.expect("keys are taken");
    }

    /// Runs a script in the page, and returns what it returns.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect("the script runs")
    }

    /// Waits until a script in the page returns true.
    pub async fn until(&self, script: &str) {
        self.wait(script, async || (self.look(script).await? == Value::Bool(true)).then_some(())).await;
    }

    /// Gives the window a width.
    pub async fn resize(&self, width: Width) {
        let metrics = match width {
            Width::Desktop => json!({"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": false}),
            Width::Phone => json!({"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true}),
        };
        let body = json!({"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics});
        self.client
            .issue_cmd(Extension { path: "goog/cdp/execute", body })
            .await
            .expect("the window's size is set");
    }

    /// By how many pixels the page is wider than its window.
    pub async fn overflow(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        self.run(script).await.as_i64().expect("a number of pixels")
    }

    /// Sees that the page fits into a window of each width, and keeps a picture of it in each.
    pub async fn fits(&self, name: &str) {
        for width in [Width::Phone, Width::Desktop] {
            self.resize(width).await;
            assert_eq!(self.overflow().await, 0, "{name}, {width:?}");
            self.picture(&format!("{name}-{width:?}")).await;
        }
    }

    /// What pages have complained of since this was asked last: errors in scripts, violations of the content security
    /// policy, requests that failed.
    pub async fn complaints(&self) -> Vec<String> {
        let command = Extension { path: "se/log", body: json!({"type": "browser"}) };
        let entries = self.client.issue_cmd(command).await.expect("the browser tells its log");
        let severe = entries.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A picture of the window, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.client.screenshot().await.expect("a picture")
    }

    /// Keeps a picture of the window in the folder that `LEVERET_TEST_PICTURES` names, if it does: for who wants to look.
    pub async fn picture(&self, name: &str) {
        if let Ok(folder) = std::env::var("LEVERET_TEST_PICTURES") {
            let path = std::path::Path::new(&folder).join(format!("{name}.png"));
            std::fs::write(path, self.screenshot().await).expect("the picture is kept");
        }
    }

    /// Ends the session, and Chromium with it. A test that fails does without.
    pub async fn close(self) {
        self.client.clone().close().await.expect("the session ends");
    }

    async fn wait<T>(&self, what: &str, found: impl AsyncFn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = found().await {
                return found;
            }
            if start.elapsed() > PATIENCE {
                let page = self.text().await;
                panic!(
                    "waited for {what:?} in vain; complaints: {:?}; the page says:\n{page}",
                    self.complaints().await
                );
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What a script returns; nothing where a page makes way for another just then.
    async fn look(&self, script: &str) -> Option<Value> {
        self.client.execute(script, Vec::new()).await.ok()
    }

    /// Clicks an element; nothing where it cannot be clicked, or where the page has put another in its place.
    async fn click_on(&self, element: &Element) -> Option<()> {
        let argument = serde_json::to_value(element).expect("an element has a JSON form");
        self.client.execute_async(SHOW, vec![argument.clone()]).await.ok()?;
        let clicked = self.client.execute(CLICK, vec![argument]).await.ok()?;
        (clicked == true).then_some(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A test that failed has not ended its session, and chromedriver would leave its browser behind. Both are in a
        // process group of their own.
        let group = format!("-{}", self.driver.id());
        let _ended = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _reaped = self.driver.wait();
    }
}

/// It takes a free port of IPv4 and then wants the same one of IPv6, which somebody else may have: it says so, ends, and is
/// started again.
fn start_driver() -> (Child, u16) {
    (0..STARTS).find_map(|_| try_start_driver()).expect("chromedriver says its port")
}

fn try_start_driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("chromedriver starts; it is in the Debian package chromium-driver");
    let stdout = driver.stdout.take().expect("its output is piped");
    let mut lines = BufReader::new(stdout).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.strip_prefix("ChromeDriver was started successfully on port ")?
            .trim_end_matches('.')
            .parse()
            .ok()
    });
    let Some(port) = port else {
        driver.wait().expect("chromedriver ends where its output does");
        return None;
    };
    // Nobody reading would end it at its next line.
    std::thread::spawn(move || lines.for_each(drop));
    Some((driver, port))
}

async fn connect(port: u16, capabilities: Map<String, Value>) -> Client {
    ClientBuilder::new(HttpConnector::new())
        .capabilities(capabilities)
        .connect(&format!("http://127.0.0.1:{port}"))
        .await
        .expect("Chromium starts; it is in the Debian package chromium")
}

/// A command that only chromedriver knows.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
