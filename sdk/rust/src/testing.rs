//! A fake host for unit tests: `cargo test` calls an action's function natively, without WebAssembly or Pipewright.
//!
//! Its files are in a temporary directory, its clock stands where the test sets it, and requests get the answers that the
//! test made up. Reports of tests have the host's limits; what else a sandbox limits, what it refuses, and `zip` and `unzip` are for
//! the cases of `pipewright plugin test`, which run the component itself. No program runs: a test says how a job ended, and writes what it left.
//!
//! ```
//! use pipewright_sdk::prelude::*;
//! use pipewright_sdk::testing::{Answer, Host};
//!
//! fn tell(action: &Action, url: &str) -> Result<Report> {
//!     let files = files::list(action.input()?, &[])?.len();
//!     let token = secrets::stand_in("token")?;
//!     let request = http::post(url).header("authorization", format!("Bearer {token}")).body(files.to_string());
//!     info!("{files} files");
//!     Ok(Report::new(request.send()?.succeeded()?.text(1024)?))
//! }
//!
//! let host = Host::new()
//!     .input("Site", &[("index.html", "<h1>Home</h1>"), ("img/a.svg", "<svg/>")])
//!     .secret("token", "not-a-real-token")
//!     .answer("POST https://example.com/jobs", Answer::new(201).body("job 7"));
//! let report = tell(&host.action(), "https://example.com/jobs")?;
//! assert_eq!(report.summary.as_deref(), Some("job 7"));
//! assert!(host.log().contains("3 files"));
//! assert_eq!(host.requests()[0].header("authorization"), Some("Bearer not-a-real-token"));
//! # Ok::<(), Failure>(())
//! ```

pub(crate) mod host;
pub(crate) mod results;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

pub use crate::bindings::host::pipewright::plugin::commands::Job;
pub use crate::bindings::host::pipewright::plugin::results::Content;
pub use crate::bindings::host::pipewright::plugin::tools::Tool;
use crate::bindings::host::pipewright::plugin::types::{self as abi, Category, Owner, Resumption};
use crate::bindings::host::wasi::http::types::ErrorCode;
use crate::commands::Ended;
use crate::{Action, Context, NamedValue, TypeId, Wait, Wake, http};

/// What a call sees of the time unless the test says something else: 2023-11-14, as in cases.
const TIME_MILLISECONDS: u64 = 1_700_000_000_000;

/// The host of the test's thread, as long as it lives: one at a time.
pub struct Host {
    state: Rc<State>,
    request: abi::Request,
    revision: Option<String>,
}

/// What functions of the SDK reach.
pub(crate) struct State {
    folder: tempfile::TempDir,
    told: RefCell<Told>,
}

struct Told {
    time: u64,
    secrets: BTreeMap<String, String>,
    declared_secrets: Vec<NamedValue>,
    /// What was handed out for secrets, and what is put in its place.
    stand_ins: BTreeMap<String, String>,
    answers: VecDeque<(String, Answer)>,
    requests: Vec<Sent>,
    /// Started, and not looked at.
    job: Option<Job>,
    secret_files: Vec<NamedValue>,
    ended: Option<Ended>,
    log: String,
    results: Vec<(String, Content)>,
    report_bytes_left: usize,
    /// The statuses that tools are to end with.
    tool_ends: VecDeque<i32>,
    tools: Vec<Tool>,
    /// By their keys, the files of each.
    caches: Vec<(String, Vec<(String, String)>)>,
    saved_caches: Vec<(String, String)>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<State>>> = const { RefCell::new(None) };
}

impl Host {
    /// A host with nothing to reach.
    ///
    /// # Panics
    /// Where the thread has one already, or there is no room for its files.
    #[expect(clippy::new_without_default, reason = "it has an effect on the thread")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory for the fake host");
        for area in ["inputs", "outputs", "directories", "scratch"] {
            fs::create_dir(folder.path().join(area)).expect("a directory of the fake host");
        }
        let told = Told {
            time: TIME_MILLISECONDS,
            secrets: BTreeMap::new(),
            declared_secrets: Vec::new(),
            stand_ins: BTreeMap::new(),
            answers: VecDeque::new(),
            requests: Vec::new(),
            job: None,
            secret_files: Vec::new(),
            ended: None,
            log: String::new(),
            results: Vec::new(),
            report_bytes_left: results::BYTES_MAX,
            tool_ends: VecDeque::new(),
            tools: Vec::new(),
            caches: Vec::new(),
            saved_caches: Vec::new(),
        };
        let state = Rc::new(State { folder, told: RefCell::new(told) });
        let before = CURRENT.replace(Some(Rc::clone(&state)));
        assert!(before.is_none(), "a test has one `Host` at a time: drop the other one first");
        Self { state, request: request(), revision: None }
    }

    /// An input artifact with these files: paths below its folder, and their texts.
    pub fn input(mut self, name: &str, files: &[(&str, &str)]) -> Self {
        self.write(&format!("inputs/{name}"), files);
        self.request.inputs.push(name.to_owned());
        self
    }

    /// An output artifact that the action is to make.
    pub fn output(mut self, name: &str) -> Self {
        self.write(&format!("outputs/{name}"), &[]);
        self.request.outputs.push(abi::Output { name: name.to_owned(), files: Vec::new() });
        self
    }

    /// An output artifact, with the file patterns that the declaration has for it.
    pub fn output_files(mut self, name: &str, files: &[&str]) -> Self {
        self = self.output(name);
        if let Some(output) = self.request.outputs.last_mut() {
            output.files = texts(files);
        }
        self
    }

    /// The declaration's `commands`.
    pub fn commands(mut self, commands: &[&str]) -> Self {
        self.request.commands = texts(commands);
        self
    }

    /// The declaration's `outputVariables`.
    pub fn output_variables(mut self, names: &[&str]) -> Self {
        self.request.output_variables = texts(names);
        self
    }

    /// One of the declaration's `environmentVariables`.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.request.environment.push(NamedValue { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// One of them of the type `SECRETS_MANAGER`, with what names its secret.
    pub fn secret_environment(self, name: &str, secret: &str) -> Self {
        let declared = NamedValue { name: name.to_owned(), value: secret.to_owned() };
        self.state.told.borrow_mut().declared_secrets.push(declared);
        self
    }

    /// A granted directory with these files: paths below it, and their texts.
    pub fn directory(self, name: &str, files: &[(&str, &str)]) -> Self {
        self.write(&format!("directories/{name}"), files);
        self
    }

    /// A granted secret.
    pub fn secret(self, name: &str, value: &str) -> Self {
        self.state.told.borrow_mut().secrets.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The time of day, in milliseconds since 1970-01-01 UTC; 1,700,000,000,000 unless it is set.
    pub fn time(self, milliseconds: u64) -> Self {
        self.state.told.borrow_mut().time = milliseconds;
        self
    }

    /// The answer to the next request, which must be this one: method and URL, as in `POST https://example.com/jobs`.
    pub fn answer(self, request: &str, answer: Answer) -> Self {
        self.state.told.borrow_mut().answers.push_back((request.to_owned(), answer));
        self
    }

    /// The revision that a source is to fetch.
    pub fn revision(mut self, revision: &str) -> Self {
        self.revision = Some(revision.to_owned());
        self
    }

    /// The action is called again after this wait.
    pub fn resumed(mut self, wait: Wait, wake: Wake) -> Self {
        self.state.told.borrow_mut().ended = None;
        self.request.resumed = Some(Resumption { continuation: wait.continuation, wake });
        self
    }

    /// The action is called again after this wait, for the job that it started has ended. What that has written is in
    /// [`Host::path`]`("scratch")`.
    pub fn ended(self, wait: Wait, ended: Ended) -> Self {
        let host = self.resumed(wait, Wake::Time);
        host.state.told.borrow_mut().ended = Some(ended);
        host
    }

    /// The job that the action started in its last call.
    ///
    /// # Panics
    /// Where it started none.
    pub fn job(&self) -> Job {
        self.state.told.borrow_mut().job.take().expect("the action started no job")
    }

    /// The secrets that it is given in files: each the variable that has the path, and the secret's name.
    pub fn secret_files(&self) -> Vec<NamedValue> {
        self.state.told.borrow().secret_files.clone()
    }

    /// What the action's function gets, beside its settings.
    pub fn action(&self) -> Action {
        Action::new(self.request.clone(), self.revision.clone())
    }

    /// Where a file of the action is: `outputs/NAME/…`, `directories/NAME/…`, `scratch/…`.
    pub fn path(&self, path: &str) -> PathBuf {
        self.state.folder.path().join(path)
    }

    /// The text of such a file.
    ///
    /// # Panics
    /// Where there is none.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The lines that were logged.
    pub fn log(&self) -> String {
        self.state.told.borrow().log.clone()
    }

    /// The next tool that is run ends with this status. It is not really run.
    pub fn tool(self, status: i32) -> Self {
        self.state.told.borrow_mut().tool_ends.push_back(status);
        self
    }

    /// The tools that were run.
    pub fn tools(&self) -> Vec<Tool> {
        self.state.told.borrow().tools.clone()
    }

    /// What an earlier execution has kept under a key: paths and texts.
    pub fn cache(self, key: &str, files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        self.state.told.borrow_mut().caches.push((key.to_owned(), files));
        self
    }

    /// What is to be kept: the keys, and the directories below `scratch`.
    pub fn saved_caches(&self) -> Vec<(String, String)> {
        self.state.told.borrow().saved_caches.clone()
    }

    /// What was reported of tests and coverage, with its names.
    pub fn results(&self) -> Vec<(String, Content)> {
        self.state.told.borrow().results.clone()
    }

    /// The requests that were sent.
    pub fn requests(&self) -> Vec<Sent> {
        self.state.told.borrow().requests.clone()
    }

    fn write(&self, folder: &str, files: &[(&str, &str)]) {
        let folder = self.path(folder);
        fs::create_dir_all(&folder).expect("a directory of the fake host");
        for (path, text) in files {
            let path = folder.join(path);
            let above = path.parent().unwrap_or(&folder);
            let written = fs::create_dir_all(above).and_then(|()| fs::write(&path, text));
            written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

impl Drop for Host {
    /// Fails the test where answers are left.
    fn drop(&mut self) {
        CURRENT.set(None);
        let left: Vec<String> = self.state.told.borrow().answers.iter().map(|(request, _)| request.clone()).collect();
        if !std::thread::panicking() {
            assert!(left.is_empty(), "the action did not send: {}", left.join(", "));
        }
    }
}

/// How a job ends that ends by itself, within a millisecond.
pub fn exited(status: i32) -> Ended {
    Ended {
        status,
        signal: None,
        limit: None,
        cpu_micros: 1_000,
        memory_bytes_max: 1 << 20,
        wall_micros: 1_000,
        tail: String::new(),
    }
}

/// A request that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Method and URL, as in `POST https://example.com/jobs`.
    pub request: String,
    /// Names and values in the order in which they were given, with the values of secrets in the place of their stand-ins.
    pub headers: Vec<(String, String)>,
    /// All of the body.
    pub body: Vec<u8>,
}

impl Sent {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value)
    }
}

/// What a request gets.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    error: Option<ErrorCode>,
}

impl Answer {
    /// A response with a status, without a body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), error: None }
    }

    /// Instead of a response an error code of wasi:http, such as `connection-refused`, `DNS-error`,
    /// `HTTP-response-timeout` or `HTTP-request-denied`.
    ///
    /// # Panics
    /// Where there is none of this name; the message lists them.
    pub fn error(code: &str) -> Self {
        let found = http::ERRORS.iter().find(|(name, ..)| *name == code);
        let names = || http::ERRORS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        let (_, error, _) = found.unwrap_or_else(|| panic!("there is no error `{code}`; there are {}", names()));
        Self { error: Some(error.clone()), ..Self::new(0) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// The body; JSON is what `serde_json::json!({ … }).to_string()` gives.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// The first attempt at an action of which only the names of its artifacts matter.
fn request() -> abi::Request {
    let case = || "case".to_owned();
    let named = |name: &str| name.to_owned();
    abi::Request {
        action_type: TypeId {
            category: Category::Build,
            owner: Owner::Custom,
            provider: named("Test"),
            version: named("1"),
        },
        context: Context {
            account: named("000000000000"),
            region: named("local"),
            pipeline: case(),
            execution_id: case(),
            stage: case(),
            action: case(),
            action_execution_id: case(),
        },
        settings: Vec::<NamedValue>::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        commands: Vec::new(),
        environment: Vec::new(),
        output_variables: Vec::new(),
        idempotency_key: case(),
        attempt: 1,
        resumed: None,
    }
}
