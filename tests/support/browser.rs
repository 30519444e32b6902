//! Headless Chromium, told what to do over a pipe by the DevTools protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    calls: u64,
    /// What the page complained of: errors of scripts, and what its policy forbids.
    complaints: Vec<String>,
    _home: TempDir,
}

/// So long is waited for anything that a page shows.
const PATIENCE: Duration = Duration::from_secs(120);

impl Browser {
    /// Opens a page at `url` in a window of this size.
    pub fn open(url: &str, width: u32, height: u32) -> Self {
        let home = tempfile::tempdir().unwrap();
        // The protocol is spoken over the descriptors 3 and 4, which the shell makes of standard input and output.
        let script = "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null";
        let mut process = Command::new("sh")
            .args([
                "-c",
                script,
                "sh",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
            ])
            .args([
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg("about:blank")
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (
            process.stdin.take().unwrap(),
            process.stdout.take().unwrap(),
        );
        let mut browser = Self {
            process,
            to,
            from: BufReader::new(from),
            session: String::new(),
            calls: 0,
            complaints: Vec::new(),
            _home: home,
        };
        let made = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": made["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        let window =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", window);
        browser.call("Page.navigate", json!({ "url": url }));
        browser.wait("document.readyState === 'complete'");
        browser
    }

    /// Calls a method of the protocol.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.calls += 1;
        let mut message = json!({ "id": self.calls, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to
            .write_all(&bytes)
            .expect("chromium must be installed: tests/run does it");
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert!(
                !bytes.is_empty(),
                "the browser ended; is chromium installed? tests/run does it"
            );
            bytes.pop();
            let message: Value = serde_json::from_slice(&bytes).unwrap();
            self.note(&message);
            if message["id"] == self.calls {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    fn note(&mut self, message: &Value) {
        let told = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(told["exceptionDetails"].to_string())
            }
            Some("Log.entryAdded") if told["entry"]["level"] == "error" => {
                self.complaints.push(told["entry"].to_string());
            }
            Some("Runtime.consoleAPICalled") if told["type"] == "error" => {
                self.complaints.push(told["args"].to_string());
            }
            _ => {}
        }
    }

    /// What a JavaScript expression comes to.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let wanted =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", wanted);
        assert!(
            result.get("exceptionDetails").is_none(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression is true.
    #[track_caller]
    pub fn wait(&mut self, expression: &str) {
        let began = Instant::now();
        while self.eval(&format!("Boolean({expression})")) != true {
            if began.elapsed() > PATIENCE {
                let shown = self.eval("document.body.innerText");
                panic!(
                    "{expression} does not come about: {shown}\n{:#?}",
                    self.complaints
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the page shows `text`.
    #[track_caller]
    pub fn sees(&mut self, text: &str) {
        let text = serde_json::to_string(text).unwrap();
        self.wait(&format!("document.body.innerText.includes({text})"));
    }

    /// Clicks the visible button with this text.
    #[track_caller]
    pub fn click(&mut self, text: &str) {
        let text = serde_json::to_string(text).unwrap();
        let button = format!(
            "[...document.querySelectorAll('button')].find((b) => b.textContent === {text} && b.offsetParent && !b.disabled)"
        );
        self.wait(&button);
        self.eval(&format!("{button}.click()"));
    }

    /// Ticks the visible box with this text.
    #[track_caller]
    pub fn tick(&mut self, text: &str) {
        let text = serde_json::to_string(text).unwrap();
        let label = format!(
            "[...document.querySelectorAll('label.check')].find((l) => l.textContent.trim() === {text} && l.offsetParent && !l.control.checked)"
        );
        self.wait(&label);
        self.eval(&format!("{label}.click()"));
    }

    /// Writes into the field with this id.
    #[track_caller]
    pub fn write(&mut self, id: &str, text: &str) {
        let text = serde_json::to_string(text).unwrap();
        let field = format!("document.getElementById('{id}')");
        self.eval(&format!("{field}.value = {text}; {field}.dispatchEvent(new Event('input')); {field}.dispatchEvent(new Event('change'))"));
    }

    /// What the page complained of so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Puts a picture of the window into a file.
    pub fn picture(&mut self, file: &Path) {
        let taken = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().unwrap());
        std::fs::write(file, bytes.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // However it takes it: its home goes with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
