//! A headless Chromium, spoken to by its own debugging protocol over two pipes: enough to open a page, run script in
//! it, and take its picture.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Chromium takes file descriptors 3 and 4; a shell opens them.
const START: &str = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
    --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --window-size=420,1400 \
    --remote-debugging-pipe --user-data-dir=\"$1/profile\" about:blank 3<\"$1/to\" 4>\"$1/from\"";

/// A browser with one page. Dropped, it is ended.
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    asked: u64,
    _folder: TempDir,
}

impl Browser {
    /// Starts a browser with an empty page, of a phone's width.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipe = |name: &str| folder.path().join(name);
        let made = Command::new("mkfifo").arg(pipe("to")).arg(pipe("from")).status().unwrap();
        assert!(made.success());
        let mut command = Command::new("sh");
        command.args(["-c", START, "chromium"]).arg(folder.path()).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        // Each opens once the shell has opened the other end.
        let to = OpenOptions::new().write(true).open(pipe("to")).unwrap();
        let from = BufReader::new(File::open(pipe("from")).unwrap());
        let mut browser = Self { child, to, from, session: None, asked: 0, _folder: folder };
        let targets = browser.ask("Target.getTargets", &json!({}));
        let infos = targets["targetInfos"].as_array().unwrap();
        let page = infos.iter().find(|target| target["type"] == "page").unwrap();
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", &attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        browser
    }

    /// Opens a page and waits until it is there.
    pub fn open(&mut self, url: &str) {
        self.ask("Page.navigate", &json!({ "url": url }));
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What a script comes to, promises awaited.
    pub fn run(&mut self, script: &str) -> Value {
        let ask = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &ask);
        assert!(answer["exceptionDetails"].is_null(), "{script}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until a script says true.
    pub fn until(&mut self, script: &str) {
        let start = Instant::now();
        while self.run(script) != true {
            if start.elapsed() > crate::PATIENCE {
                let page = self.run("document.body.innerText");
                panic!("waited in vain for {script}; the page says {page}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Writes into a form's fields as somebody would, and sends it.
    pub fn fill_in(&mut self, form: &str, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            self.run(&format!(
                "document.querySelector({form:?}).elements[{name:?}].value = {}; true",
                Value::from(*value)
            ));
        }
        self.run(&format!("document.querySelector({form:?}).requestSubmit(); true"));
    }

    /// Takes the page's picture (PNG).
    pub fn picture(&mut self, path: &Path) {
        let answer = self.ask("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let picture = BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, picture).unwrap();
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = Vec::new();
            let read = self.from.read_until(0, &mut answer).unwrap();
            assert!(read > 0, "the browser is gone");
            answer.pop();
            let mut answer: Value = serde_json::from_slice(&answer).unwrap();
            // Everything else is an event, of which none is waited for.
            if answer["id"] == self.asked {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
