//! A `qemu-nbd` of our own that serves one disk to one connection and then ends.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use raksha_core::env::Env;
use raksha_core::{Error, Kind, Result};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::roads::scratch::Scratch;

/// How much of what it says before it dies is kept.
const LONGEST_COMPLAINT: usize = 4096;
/// How often its socket is looked for, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(100);

/// How long a process may take to end that has closed its connection.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a `qemu-nbd` is to serve.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// The disk, as qemu's block layer describes one in JSON. The driver is always named: nothing is ever guessed from the disk's content.
    pub(crate) node: serde_json::Value,
    /// What to call it in errors.
    pub(crate) name: String,
    /// Whether it may be written.
    pub(crate) writable: bool,
    /// Where the storage's client finds its key, if not where it always looks.
    pub(crate) keyring: Option<PathBuf>,
}

/// A child process. It ends by itself when its one connection does; when this is dropped, it is killed if it had none, or does not end.
#[derive(Debug)]
pub(super) struct QemuNbd {
    /// None only while this is dropped.
    child: Option<Child>,
    connected: bool,
    complaint: Arc<Mutex<Vec<u8>>>,
    listening: Option<JoinHandle<()>>,
    name: String,
    // After the child, so that the socket's directory outlives it.
    _scratch: Scratch,
}

impl QemuNbd {
    /// Starts the program `program` and gives the one connection that it serves.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] if there is no such program; what it says where it cannot open the disk; [`Kind::Timeout`] if it is not
    /// ready within `deadline`.
    pub(super) async fn start(
        program: &Path,
        served: &Served,
        work: &Path,
        deadline: Duration,
        env: &Env,
    ) -> Result<(Self, UnixStream)> {
        let scratch = Scratch::new(work, env)?;
        let socket = scratch.socket("nbd")?;
        let mut command = Command::new(program);
        command.arg("--socket").arg(&socket);
        if served.writable {
            // So that zeroes take no space where the storage can do without.
            command.args(["--discard", "unmap"]);
        } else {
            command.arg("--read-only");
        }
        if let Some(keyring) = &served.keyring {
            command.env("CEPH_KEYRING", keyring);
        }
        command.env("LC_ALL", "C");
        command.arg(format!("json:{}", served.node));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| not_started(program, e))?;
        let complaint = Arc::new(Mutex::new(Vec::new()));
        let listening = (child.stderr.take())
            .map(|stderr| tokio::spawn(listen(stderr, Arc::clone(&complaint))));
        let mut process = Self {
            child: Some(child),
            connected: false,
            complaint,
            listening,
            name: served.name.clone(),
            _scratch: scratch,
        };
        let ready = tokio::time::timeout(deadline, process.connect(&socket)).await;
        let stream = ready.map_err(|_| {
            let message = format!(
                "it is not ready after {} s: look whether the storage answers",
                deadline.as_secs()
            );
            let error = Error::new(Kind::Timeout, START, message);
            error.with("disk", &served.name)
        })??;
        Ok((process, stream))
    }

    async fn connect(&mut self, socket: &Path) -> Result<UnixStream> {
        let mut pause = FIRST_LOOK;
        loop {
            if let Ok(stream) = UnixStream::connect(socket).await {
                self.connected = true;
                return Ok(stream);
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose();
            if let Some(status) = ended.map_err(|e| Error::io(START, e))?.flatten() {
                return Err(self.failed(status).await);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SLOWEST_LOOK);
        }
    }

    /// What became of a process that ended before it served anything.
    async fn failed(&mut self, status: ExitStatus) -> Error {
        let said = self.last_words().await;
        let (kind, remedy) = match said.as_str() {
            s if s.contains("No such file") => (Kind::NotFound, ""),
            s if s.contains("Permission denied") || s.contains("not permitted") => (
                Kind::Denied,
                "; qemu opens RBD images for writing even to read them, so the Ceph user needs `profile rbd` on the pool",
            ),
            s if s.contains("Unknown driver") => (
                Kind::Unsupported,
                "; the driver is in a package of its own (qemu-block-extra)",
            ),
            _ => (Kind::Unavailable, ""),
        };
        let message = format!("qemu-nbd cannot serve the disk ({status}): {said}{remedy}");
        Error::new(kind, START, message).with("disk", &self.name)
    }

    /// The reason why a connection that was just made came to nothing: the socket is there before the disk is opened.
    pub(super) async fn refused(&mut self, error: Error) -> Error {
        match self.wait(FAREWELL).await {
            Some(Ok(status)) => self.failed(status).await,
            _ => self.explain(error),
        }
    }

    /// Adds to an error of the connection what the process said of it.
    pub(super) fn explain(&self, error: Error) -> Error {
        let error = error.with("disk", &self.name);
        match self.said() {
            said if said.is_empty() => error,
            said => error.with("qemu-nbd says", said),
        }
    }

    /// Waits until it has ended, which it does when its connection has, and closed the disk.
    pub(super) async fn ended(&mut self, deadline: Duration) -> Result<()> {
        match self.wait(deadline).await {
            Some(Ok(status)) if status.success() => Ok(()),
            Some(Ok(status)) => {
                let said = self.last_words().await;
                let message = format!("qemu-nbd ended with {status}: {said}");
                Err(Error::new(Kind::Unavailable, END, message).with("disk", &self.name))
            }
            Some(Err(error)) => Err(Error::io(END, error)),
            None => {
                let message = "qemu-nbd does not close the disk";
                Err(self.explain(Error::new(Kind::Timeout, END, message)))
            }
        }
    }

    /// What it ended with; nothing if it has not ended by then.
    async fn wait(&mut self, deadline: Duration) -> Option<std::io::Result<ExitStatus>> {
        let child = self.child.as_mut()?;
        tokio::time::timeout(deadline, child.wait()).await.ok()
    }

    /// Everything that it said, once it has ended.
    async fn last_words(&mut self) -> String {
        if let Some(listening) = self.listening.take() {
            // A process that it left behind might keep the pipe open.
            let _ = tokio::time::timeout(Duration::from_secs(1), listening).await;
        }
        self.said()
    }

    fn said(&self) -> String {
        let said = self
            .complaint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.join("; ")
    }
}

impl Drop for QemuNbd {
    /// One whose connection is over closes its disk and ends. Killed before, it would leave a watch on an RBD image that nobody answers for: whatever is done
    /// to the image in the next half minute, such as a snapshot, then waits 10 s for its answer.
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) if self.connected => {
                runtime.spawn(async move {
                    if tokio::time::timeout(FAREWELL, child.wait()).await.is_err() {
                        // Fails only if it has ended after all.
                        let _ = child.start_kill();
                    }
                });
            }
            _ if self.connected => {}
            _ => {
                let _ = child.start_kill();
            }
        }
    }
}

const START: &str = "start qemu-nbd";
const END: &str = "end qemu-nbd";

/// Reads all that it says, so that it never waits for us, and keeps the beginning.
async fn listen(mut stderr: ChildStderr, complaint: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(length) = stderr.read(&mut buffer).await {
        if length == 0 {
            return;
        }
        let mut said = complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LONGEST_COMPLAINT.saturating_sub(said.len()).min(length);
        said.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
}

fn not_started(program: &Path, source: std::io::Error) -> Error {
    let error = match source.kind() {
        std::io::ErrorKind::NotFound => {
            let message = "there is no qemu-nbd on this machine: install it (qemu-utils), or read through images";
            Error::new(Kind::Unsupported, START, message).caused_by(source)
        }
        _ => Error::io(START, source),
    };
    error.with("program", program.display())
}
