//! Running programs and judging what they said. Silence on stderr is the default expectation.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than any program of the tests takes; one that does not end by then is killed.
const LIMIT: Duration = Duration::from_mins(2);

/// Runs a program to its end.
#[track_caller]
pub fn run(mut command: Command) -> std::process::Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let stdout = drain(child.stdout.take().unwrap());
    let stderr = drain(child.stderr.take().unwrap());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} did not end within {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    std::process::Output {
        status,
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
    }
}

/// Reads while the program runs, so that it never waits for a full pipe.
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// What a run said and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
}

impl Output {
    pub fn new(command: &str, output: &std::process::Output) -> Self {
        Self {
            command: command.to_owned(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status,
        }
    }

    /// Exit code 0 and silence on stderr.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0).says_on_stderr("")
    }

    #[track_caller]
    pub fn fails_with(self, code: i32, stderr: &str) -> Self {
        self.exits(code).says_on_stderr(stderr)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.all());
        self
    }

    #[track_caller]
    pub fn says(self, stdout: &str) -> Self {
        assert_eq!(self.stdout, stdout, "{}", self.all());
        self
    }

    #[track_caller]
    pub fn says_on_stderr(self, stderr: &str) -> Self {
        assert_eq!(self.stderr, stderr, "{}", self.all());
        self
    }

    /// For text with times or sizes in it; exact assertions are better where they can be had.
    #[track_caller]
    pub fn mentions(self, part: &str) -> Self {
        let found = self.stdout.contains(part) || self.stderr.contains(part);
        assert!(found, "no {part:?} in {}", self.all());
        self
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.all()))
    }

    fn all(&self) -> String {
        let Self {
            command,
            stdout,
            stderr,
            status,
        } = self;
        format!("{command}: {status}\n--- stdout\n{stdout}--- stderr\n{stderr}---")
    }
}
