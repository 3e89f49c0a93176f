//! What whoever runs a job needs of the call that started it: its masks, its log, its journal, and its way to the network.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{COMMANDS, CommandsGrant, Job};
use crate::capabilities::http::{Connector, HttpGrant, NotConnected, Origin, normal_host};
use crate::grants::SecretValue;
use crate::log::Lines;
use crate::seam::{Denied, HostCallOutcome, HostCallTimer, Level, Seam};

/// How long connecting may take, the lookup of the name apart.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How much of a log's end the plugin is told.
const TAIL_BYTES_MAX: usize = 16 << 10;

/// A job that a call started, checked against what was granted.
#[derive(Clone)]
pub struct Started {
    pub job: Job,
    pub grant: CommandsGrant,
    /// The values of the job's secrets, by the names of the variables.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The same, of those that it is given in files.
    pub secret_files: BTreeMap<String, SecretValue>,
    pub(super) seam: Arc<Seam>,
    pub(super) connector: Connector,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("job", &self.job).field("grant", &self.grant).finish_non_exhaustive()
    }
}

impl Started {
    /// Begins the entry of the journal about the running itself.
    pub fn begin(&self) -> HostCallTimer {
        self.seam.begin(COMMANDS, "run")
    }

    /// What the program writes goes into the log by this.
    pub fn output(&self) -> Output {
        Output { lines: Lines::new(Level::Info, Arc::clone(&self.seam)), tail: Tail::default() }
    }

    pub fn log(&self, level: Level, line: &str) {
        self.seam.log(level, line);
    }

    pub fn progress(&self, summary: &str) {
        self.seam.progress(None, summary);
    }

    /// What the action was refused so far.
    pub fn denials(&self) -> Vec<String> {
        self.seam.denials()
    }

    /// Whether a grant would have allowed some of it.
    pub fn wants_grant(&self) -> bool {
        self.seam.wants_grant()
    }

    /// Connects to a granted host, at an address that was checked as those of the plugin's own requests are; or says why not.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let (timer, target) = (self.seam.begin(COMMANDS, "connect"), target(host, port));
        let granted = self.grant.network.iter().find(|grant| is_of(grant, host, port));
        let Some(grant) = granted else { return Err(self.denied(host, port)) };
        let connected = self.connector.connect(grant, CONNECT_MAX).await.map_err(|refused| match refused {
            NotConnected::Failed(text) => HostCallOutcome::Failed(text),
            NotConnected::NotPublic(address) => HostCallOutcome::Denied(self.seam.denial(&Denied {
                tried: format!("to reach {target} at {address}, which is not a public address, from a program"),
                grant: line(&HttpGrant { private: true, ..grant.clone() }),
                is_asked: true,
            })),
        });
        timer.end(&*target, connected.as_ref().err().cloned().unwrap_or(HostCallOutcome::Done), 0);
        connected.map_err(|outcome| outcome.text().unwrap_or_default().to_owned())
    }

    /// Tells of a host that the program wanted to reach and may not.
    pub fn denied(&self, host: &str, port: u16) -> String {
        let (timer, target) = (self.seam.begin(COMMANDS, "connect"), target(host, port));
        let private = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        let wanted = HttpGrant { tls: port == 443, host: host.to_owned(), port, private };
        let text = self.seam.denial(&Denied {
            tried: format!("to reach {target} from a program"),
            grant: line(&wanted),
            is_asked: true,
        });
        timer.end(target, HostCallOutcome::Denied(text.clone()), 0);
        text
    }
}

fn is_of(grant: &HttpGrant, host: &str, port: u16) -> bool {
    grant.port == port && normal_host(&grant.host) == normal_host(host)
}

fn target(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// As a grants file has it.
fn line(wanted: &HttpGrant) -> String {
    let origin = Origin::of(wanted).in_a_file();
    format!("commands = {{ …, network = [{origin}] }}")
}

/// Takes what a program writes, in whatever pieces: masked, and line by line into the log.
pub struct Output {
    lines: Lines,
    tail: Tail,
}

impl Output {
    pub fn write(&mut self, bytes: &[u8]) {
        self.lines.write(bytes, &mut |line| self.tail.push(line));
    }

    /// The last lines, when there are no more.
    pub fn finish(mut self) -> String {
        self.lines.finish(&mut |line| self.tail.push(line));
        Vec::from(self.tail.lines).join("\n")
    }
}

#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, line: &str) {
        let line = pipewright_text::first_bytes(line, TAIL_BYTES_MAX - 1);
        self.lines.push_back(line.to_owned());
        self.bytes += line.len() + 1;
        while self.bytes > TAIL_BYTES_MAX
            && let Some(first) = self.lines.pop_front()
        {
            self.bytes -= first.len() + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masks::Masks;
    use crate::outside::Outside;
    use crate::rights::Asks;
    use crate::seam::Journal;

    #[test]
    fn what_a_program_writes_is_masked_logged_and_its_end_is_told() {
        let journal = Arc::new(Journal::default());
        let masks = Masks::of(["hunter2-hunter2"]);
        let sink = Arc::clone(&journal) as Arc<dyn crate::seam::Sink>;
        let seam = Seam::new("acme/x", "Build/It", sink, masks, Asks::default(), Outside::Live);
        let output = || Output { lines: Lines::new(Level::Info, Arc::clone(&seam)), tail: Tail::default() };
        let mut written = output();
        for piece in ["first\n\x1b[1mse", "cond hunter2-", "hunter2\nthird"] {
            written.write(piece.as_bytes());
        }
        assert_eq!(written.finish(), "first\n\x1b[1msecond ****\nthird");
        assert_eq!(*journal.lines.lock().unwrap(), ["first", "\x1b[1msecond ****", "third"]);

        // What is drawn over is a line each time, and a line feed right after it is none, in whatever pieces they come.
        let mut drawn = output();
        for piece in ["1%\r2%\r\n", "3%\r", "\nhunter2-", "hunter2\r\n\n"] {
            drawn.write(piece.as_bytes());
        }
        assert_eq!(drawn.finish(), "1%\n2%\n3%\n****\n");
        assert_eq!(journal.lines.lock().unwrap()[3..], ["1%", "2%", "3%", "****", ""]);

        let mut long = output();
        let lines = (0..10_000).map(|number| format!("line {number}")).collect::<Vec<_>>().join("\n");
        long.write(lines.as_bytes());
        let tail = long.finish();
        assert!(tail.len() < TAIL_BYTES_MAX && tail.len() > TAIL_BYTES_MAX / 2 && lines.ends_with(&tail), "{tail}");
    }
}
