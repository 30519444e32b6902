//! The `raksha` program, as a shell would call it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Which build of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// The one built last.
    Newest,
    /// The optimised one.
    Release,
}

/// The program with its global options, given by environment.
#[derive(Debug, Clone)]
pub struct Program {
    file: PathBuf,
    environment: Vec<(String, String)>,
}

/// What a call of the program left.
#[derive(Debug)]
pub struct Said {
    /// The exit code; none if it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Program {
    /// The program, built beside this test. It knows of no target, cloud or key yet.
    pub fn find(build: Build) -> Self {
        Self {
            file: Self::built("raksha", build),
            environment: Vec::new(),
        }
    }

    /// Another program, built beside this test.
    pub fn beside(name: &str) -> PathBuf {
        Self::built(name, Build::Newest)
    }

    fn built(name: &str, build: Build) -> PathBuf {
        let own = std::env::current_exe().unwrap();
        let builds: &[&str] = match build {
            Build::Newest => &["release", "debug"],
            Build::Release => &["release"],
        };
        // The test lies in target/debug/deps, or in the same below target/<triple>.
        let places = own.ancestors().skip(1).flat_map(|above| {
            let inside = |build: &&str| above.join(build).join(name);
            builds.iter().map(inside)
        });
        let there = places.filter_map(|file| {
            let changed = file.metadata().ok().filter(|m| m.is_file())?.modified();
            Some((changed.unwrap(), file))
        });
        let Some((_, file)) = there.max() else {
            panic!(
                "there is no program {name} in target/{}: build it with `cargo build --release --bins`, as tests/run does",
                builds.join(" or target/")
            );
        };
        file
    }

    /// The same with a variable of the environment set: `RAKSHA_TARGET` and the like.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let value = value.as_ref().to_str().unwrap().to_owned();
        self.environment.push((name.to_owned(), value));
        self
    }

    /// The same with a cache, jobs and the like below `home` instead of the user's.
    #[must_use]
    pub fn at_home(self, home: &Path) -> Self {
        self.with("HOME", home).with("XDG_DATA_HOME", home)
    }

    /// A call that has not begun. Nothing of the environment of the test reaches it but the path.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.file);
        command.args(arguments).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("USER", "tester");
        command.envs(self.environment.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null());
        command
    }

    /// Calls it and waits.
    pub fn call(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        Said {
            code: status.code(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Calls it; it must succeed. Gives what it printed, without the line break at the end.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let said = self.call(arguments);
        assert_eq!(said.code, Some(0), "raksha {arguments:?}: {said:?}");
        said.out.trim_end().to_owned()
    }

    /// Calls it with `--json`; it must succeed and print exactly one JSON value on one line.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let all = [arguments, &["--json"]].concat();
        let out = self.ok(&all);
        assert_eq!(out.lines().count(), 1, "raksha {all:?} printed: {out}");
        serde_json::from_str(&out).unwrap()
    }

    /// Starts a call, asks after each `pause` whether enough has happened, and then kills it with SIGKILL. Ending before that, or five minutes
    /// without enough, is a failure.
    #[track_caller]
    pub fn killed(&self, arguments: &[&str], pause: Duration, enough: impl Fn() -> bool) {
        let mut command = self.command(arguments);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !enough() {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "raksha {arguments:?} ended ({ended:?}) before it could be killed"
            );
            assert!(
                began.elapsed() < Duration::from_secs(300),
                "raksha {arguments:?} gets nowhere"
            );
            std::thread::sleep(pause);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Calls it; it must fail with exit code 1 and a single line on standard error, which is given, and print nothing else.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let said = self.call(arguments);
        assert_eq!(said.code, Some(1), "raksha {arguments:?}: {said:?}");
        assert_eq!(said.out, "", "raksha {arguments:?}");
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
        assert!(said.err.starts_with("raksha: "), "{}", said.err);
        said.err
    }
}
