//! A real OpenStack cloud on this machine, brought up by `tests/lab/openstack-up.sh`, seen from outside: by its own command
//! line and by what its guests say, never through the code under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Debian's Python programs need Debian's Python.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The lab.
#[derive(Debug, Clone)]
pub struct Lab {
    folder: PathBuf,
}

/// One line of a guest's journal: its number, and the seconds since the guest booted.
pub type Line = (u64, f64);

impl Lab {
    /// The lab of `RAKSHA_LAB`, which must be up.
    pub fn find() -> Self {
        let folder = std::env::var_os("RAKSHA_LAB")
            .map_or_else(|| PathBuf::from("/var/lib/raksha-lab"), PathBuf::from);
        assert!(
            folder.join("clouds.yaml").exists(),
            "no OpenStack cloud in {}: run tests/lab/ceph-up.sh and tests/lab/openstack-up.sh, as tests/run does",
            folder.display()
        );
        Self { folder }
    }

    /// The file that describes its clouds: raksha-admin, raksha-demo, raksha-other.
    pub fn clouds(&self) -> PathBuf {
        self.folder.join("clouds.yaml")
    }

    /// What the guests' first disks begin with, raw.
    pub fn guest(&self) -> PathBuf {
        self.folder.join("guest.raw")
    }

    /// Copies what lies in the Ceph cluster for a volume to a file, which must not be there yet.
    pub fn copy_volume(&self, id: &str, to: &Path) {
        let mut rbd = Command::new("rbd");
        rbd.args(["--id", "openstack", "--no-progress", "export"])
            .arg(format!("volumes/volume-{id}"))
            .arg(to);
        self.run(&mut rbd);
    }

    /// Runs a script of `tests/lab` and gives what it printed.
    pub fn script(&self, name: &str, arguments: &[&str]) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab").join(name);
        self.run(Command::new(file).args(arguments))
    }

    /// What a cloud's project has: `ids`, to see what was left behind, and `shape`, to see what came back.
    pub fn inventory(&self, cloud: &str) -> Value {
        serde_json::from_str(&self.script("inventory.py", &[cloud])).unwrap()
    }

    /// Deletes what a cloud's project has and did not have when the [inventory](Self::inventory) was made.
    pub fn remove_since(&self, cloud: &str, before: &Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), before.to_string()).unwrap();
        self.script("remove-since.py", &[cloud, file.path().to_str().unwrap()]);
    }

    /// Runs an `openstack` command and gives what it printed.
    pub fn openstack(&self, cloud: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("openstack");
        self.run(command.args(["--os-cloud", cloud]).args(arguments))
    }

    /// Waits until a server's console shows all of `words`.
    pub fn console_shows(&self, cloud: &str, server: &str, words: &[&str]) {
        let what = format!("the console of {server} to show {words:?}");
        wait(&what, Duration::from_secs(300), || {
            let shown = self.openstack(cloud, &["console", "log", "show", server]);
            words.iter().all(|word| shown.contains(word)).then_some(())
        });
    }

    /// Waits until a guest's agent answers.
    pub fn agent_answers(&self, server_id: &str) {
        let what = format!("the agent of {server_id} to answer");
        wait(&what, Duration::from_secs(300), || {
            let mut ping = agent(server_id, &json!({"execute": "guest-ping"}));
            let ping = ping.env("PATH", PATH).output().unwrap();
            ping.status.success().then_some(())
        });
    }

    /// Runs a shell command inside a guest, through its agent, and gives what it printed.
    pub fn inside(&self, server_id: &str, command: &str) -> String {
        let ask = |what: Value| self.ask(server_id, &what);
        let arguments = json!({"path": "/bin/sh", "arg": ["-c", command], "capture-output": true});
        let started = ask(json!({"execute": "guest-exec", "arguments": arguments}));
        let pid = &started["return"]["pid"];
        let status = json!({"execute": "guest-exec-status", "arguments": {"pid": pid}});
        let ended = wait(command, Duration::from_secs(120), || {
            let now = ask(status.clone());
            (now["return"]["exited"] == true).then_some(now)
        });
        let printed = ended["return"]["out-data"].as_str().unwrap_or_default();
        String::from_utf8(BASE64.decode(printed).unwrap()).unwrap()
    }

    /// Makes a file inside a guest.
    pub fn put(&self, server_id: &str, path: &str, bytes: &[u8]) {
        let open = json!({"path": path, "mode": "w"});
        let open = json!({"execute": "guest-file-open", "arguments": open});
        let handle = self.ask(server_id, &open)["return"].clone();
        for part in bytes.chunks(16 << 10) {
            let write = json!({"handle": handle, "buf-b64": BASE64.encode(part)});
            let write = json!({"execute": "guest-file-write", "arguments": write});
            let written = self.ask(server_id, &write)["return"]["count"].as_u64();
            assert_eq!(written, Some(part.len() as u64), "{path} in {server_id}");
        }
        let close = json!({"execute": "guest-file-close", "arguments": {"handle": handle}});
        self.ask(server_id, &close);
    }

    /// Whether a guest stands still, as its agent says.
    pub fn is_frozen(&self, server_id: &str) -> bool {
        self.ask(server_id, &json!({"execute": "guest-fsfreeze-status"}))["return"] == "frozen"
    }

    /// Asks a guest's agent.
    fn ask(&self, server_id: &str, what: &Value) -> Value {
        let text = self.run(&mut agent(server_id, what));
        serde_json::from_str(&text).unwrap()
    }

    /// The journal on a file system that was copied out of a guest, in a file of its own.
    pub fn journal(&self, file_system: &Path) -> Vec<Line> {
        // What was not frozen has its last transactions in ext4's own journal, as after a power cut.
        let replayed = Command::new("e2fsck")
            .env("PATH", PATH)
            .args(["-f", "-y"])
            .arg(file_system)
            .output()
            .unwrap();
        assert!(
            matches!(replayed.status.code(), Some(0 | 1)),
            "{} is no sound file system: {}",
            file_system.display(),
            String::from_utf8_lossy(&replayed.stdout)
        );
        let mut debugfs = Command::new("debugfs");
        let text = self.run(debugfs.args(["-R", "cat /journal.txt"]).arg(file_system));
        lines(&text)
    }

    fn run(&self, command: &mut Command) -> String {
        let output = command
            .env("PATH", PATH)
            .env("RAKSHA_LAB", &self.folder)
            .env("OS_CLIENT_CONFIG_FILE", self.clouds())
            .output()
            .unwrap_or_else(|e| panic!("{command:?} cannot be run: {e}"));
        assert!(
            output.status.success(),
            "{command:?} failed: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A command to a guest's agent.
fn agent(server_id: &str, command: &Value) -> Command {
    let mut virsh = Command::new("virsh");
    virsh
        .args(["-c", "qemu:///system", "qemu-agent-command"])
        .args(["--timeout", "120", server_id, &command.to_string()]);
    virsh
}

/// The lines of a journal; a torn last one is left out.
pub fn lines(text: &str) -> Vec<Line> {
    let line = |line: &str| {
        let (number, seconds) = line.split_once(' ')?;
        Some((number.parse().ok()?, seconds.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Asks again and again, with pauses, until there is an answer.
pub fn wait<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < patience, "waited {patience:?} for {what}");
        sleep(Duration::from_secs(2));
    }
}
