//! `Deploy/Custom/Rollout/1`: tells a rollout service of a release, and waits until it says that the release is out.
//!
//! The service starts a rollout by `POST URL/rollouts`, and says by `GET URL/rollouts/ID` how far it is. Between two looks
//! the action waits, which costs the host nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipewright_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// No answer of the service is larger.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Settings)]
struct Where {
    /// Where the service is.
    url: String,
    /// The name of the secret that the service knows us by.
    #[setting(default = "token")]
    token: String,
    /// Seconds between two looks at a rollout.
    #[setting(default = "10")]
    look_every: u64,
    /// Seconds after which a rollout counts as failed.
    #[setting(default = "600")]
    patience: u64,
}

#[derive(Variables)]
struct Told {
    /// The id of the rollout.
    rollout_id: String,
    /// How many servers have the release now.
    servers: usize,
}

#[derive(Serialize)]
struct Release<'a> {
    pipeline: &'a str,
    files: usize,
    /// The same for every attempt: the service does not start a rollout twice.
    key: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Running,
    Done,
    Failed,
}

#[derive(Deserialize)]
struct Rollout {
    id: String,
    state: State,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    servers: Vec<String>,
}

/// What the action needs to know when it is called again.
#[derive(Serialize, Deserialize)]
struct Started {
    id: String,
    /// In milliseconds since 1970-01-01 UTC.
    at: u64,
}

/// Deploys an artifact by a rollout service, and waits until it is out.
#[action(provider = "Rollout", inputs = 1)]
fn rollout(action: &Action, settings: Where) -> Result<Step<Deployed<Told>>> {
    let service = Service::new(&settings)?;
    let started = match action.resumed::<Started>()? {
        Some(resumed) => resumed.continuation,
        None => {
            let files = files::list(action.input()?, &[])?.len();
            let pipeline = &action.context().pipeline;
            let rollout = service.start(&Release { pipeline, files, key: action.idempotency_key() })?;
            info!("rollout {} of {files} files has started", rollout.id);
            Started { id: rollout.id, at: now() }
        }
    };
    let rollout = service.look(&started.id)?;
    match rollout.state {
        State::Done => Ok(Step::Done(deployed(&service, rollout))),
        State::Failed => Err(Failure::job(format!("rollout {} failed: {}", rollout.id, rollout.reason))),
        State::Running if now() >= started.at + settings.patience * 1000 => {
            let message = format!("rollout {} is not out after {} s; see `Patience`", rollout.id, settings.patience);
            Err(Failure::job(message))
        }
        State::Running => {
            let again = Wait::until_time(now() + settings.look_every * 1000);
            Ok(Step::Waiting(again.summary(format!("rollout {} is under way", rollout.id)).continuation(&started)?))
        }
    }
}

struct Service {
    url: String,
    authorization: String,
}

impl Service {
    fn new(settings: &Where) -> Result<Self> {
        let url = settings.url.trim_end_matches('/').to_owned();
        Ok(Self { url, authorization: format!("Bearer {}", secrets::stand_in(&settings.token)?) })
    }

    fn start(&self, release: &Release) -> Result<Rollout> {
        self.ask(http::post(format!("{}/rollouts", self.url)).json(release)?)
    }

    fn look(&self, id: &str) -> Result<Rollout> {
        self.ask(http::get(self.of(id)))
    }

    fn of(&self, id: &str) -> String {
        format!("{}/rollouts/{id}", self.url)
    }

    fn ask(&self, request: http::Request) -> Result<Rollout> {
        let response = request.header("authorization", &self.authorization).timeout(TIMEOUT).send()?;
        match response.status() {
            401 | 403 => Err(Failure::permission("the service does not know the secret that `Token` names")),
            _ => response.succeeded()?.json(ANSWER_BYTES_MAX),
        }
    }
}

fn deployed(service: &Service, rollout: Rollout) -> Deployed<Told> {
    let target = |id: &String| Target {
        id: id.clone(),
        kind: "Server".to_owned(),
        status: TargetStatus::Succeeded,
        url: None,
    };
    let servers = rollout.servers.len();
    let report = Report::new(format!("out on {servers} servers")).external_id(&rollout.id);
    let report = report.link("Rollout", service.of(&rollout.id));
    let targets = rollout.servers.iter().map(target).collect();
    Deployed { report: report.variables(Told { rollout_id: rollout.id, servers }), targets }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

plugin! {
    /// Deploys artifacts by a rollout service.
    name: "acme/rollout",
    asks: [
        ask(Capability::Http("*".into()), "the rollout service that the setting `Url` names"),
        ask(Capability::Secret("Token".into()), "how the service knows us"),
        ask(Capability::Clock, "to tell how long a rollout takes"),
    ],
    deploy: [rollout],
}
