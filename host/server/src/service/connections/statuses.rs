//! What is told to git hosts of the commits that executions fetched (S240 to S242).
//!
//! Owns which event is told of which commit. Must not know how a host takes it (`api`), nor when it is tried again (`notify`).

use pipewright_pipeline::declaration::{ActionDeclaration, PipelineDeclaration};
use pipewright_pipeline::machine::{Execution, ExecutionId, ExecutionStatus, ExecutionType};
use pipewright_runner::connections::{self, Connection, Kind, is_repository};
use pipewright_sandbox::grants::SecretValue;
use serde_json::Value;

use super::super::events::FeedEvent;
use super::super::{Service, ServiceError};
pub use super::api::Telling;
use super::api::{Api, Fares, Status};

/// What a status is called, before the pipeline's name.
const CONTEXT: &str = "pipewright/";

/// Of what an event can say something new.
struct News {
    execution: ExecutionId,
    fares: Fares,
    about: About,
}

/// Of which of its commits.
enum About {
    /// Those that it was started with, as a rollback was with all: of the others nothing is known yet.
    Given,
    /// The one that this source action fetched.
    Fetched(String),
    All,
}

impl News {
    fn of(event: &Value) -> Option<Self> {
        let (detail, text) = (&event["detail"], |value: &Value| value.as_str().map(str::to_owned));
        let (kind, state) = (event["detail-type"].as_str()?, detail["state"].as_str()?);
        let (fares, about) = match (kind, state) {
            ("CodePipeline Action Execution State Change", "SUCCEEDED") if detail["type"]["category"] == "Source" => {
                (Fares::InProgress, About::Fetched(text(&detail["action"])?))
            }
            ("CodePipeline Pipeline Execution State Change", "STARTED") => (Fares::InProgress, About::Given),
            ("CodePipeline Pipeline Execution State Change", state) => (of_state(state)?, About::All),
            _ => return None,
        };
        Some(Self { execution: text(&detail["execution-id"])?.parse().ok()?, fares, about })
    }

    /// Whether it is to be told of the commit of a source action.
    fn is_of(&self, action: &ActionDeclaration, execution: &Execution) -> bool {
        match &self.about {
            About::Given => {
                let is_rollback = matches!(execution.start.execution_type, ExecutionType::Rollback { .. });
                is_rollback || given(action, execution).is_some()
            }
            About::Fetched(name) => *name == action.name && given(action, execution).is_none(),
            About::All => true,
        }
    }
}

fn of_state(state: &str) -> Option<Fares> {
    match state {
        "RESUMED" => Some(Fares::InProgress),
        "SUCCEEDED" => Some(Fares::Succeeded),
        "FAILED" => Some(Fares::Failed),
        "STOPPED" | "CANCELED" | "SUPERSEDED" => Some(Fares::Stopped),
        _ => None,
    }
}

fn fares(status: ExecutionStatus) -> Fares {
    match status {
        ExecutionStatus::InProgress | ExecutionStatus::Stopping => Fares::InProgress,
        ExecutionStatus::Succeeded => Fares::Succeeded,
        ExecutionStatus::Failed => Fares::Failed,
        ExecutionStatus::Cancelled | ExecutionStatus::Stopped | ExecutionStatus::Superseded => Fares::Stopped,
    }
}

fn words(fares: Fares) -> &'static str {
    match fares {
        Fares::InProgress => "is in progress",
        Fares::Succeeded => "succeeded",
        Fares::Failed => "failed",
        Fares::Stopped => "did not go on",
    }
}

/// Where an execution is seen, if the operator said where others reach the server. Bitbucket takes no status without an address.
fn link(service: &Service, connection: &Connection, pipeline: &str) -> Option<String> {
    let is_known = service.public_address != service.endpoint || connection.kind == Kind::Bitbucket;
    is_known.then(|| format!("{}/v1/pipelines/{pipeline}/events", service.public_address))
}

/// The commit that an execution was started with.
fn given<'a>(action: &ActionDeclaration, execution: &'a Execution) -> Option<&'a str> {
    let revisions = execution.start.source_revisions.iter();
    revisions.filter(|given| given.action_name == action.name).map(|given| given.revision_value.as_str()).next()
}

/// The commits of an execution that are in repositories of a connection.
fn commits<'a>(
    execution: &'a Execution,
    declaration: &'a PipelineDeclaration,
    connection: &str,
) -> Vec<(&'a ActionDeclaration, String, &'a str)> {
    let is_commit = |id: &&str| matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sources = declaration.stages.first().into_iter().flat_map(|stage| stage.actions.iter().enumerate());
    let commit = |(place, action): (usize, &'a ActionDeclaration)| {
        let named = connections::named(&action.action_type_id, action.configuration.as_ref()?)?;
        let run = execution.stage_actions(0).find(|(at, _)| usize::from(at.action) == place);
        let fetched = run.and_then(|(_, run)| run.revision.as_ref()).map(|revision| revision.id.as_str());
        let commit = fetched.filter(|id| !id.is_empty()).or_else(|| given(action, execution)).filter(is_commit)?;
        let is_there = named.connection == connection && is_repository(&named.repository);
        is_there.then_some((action, named.repository, commit))
    };
    sources.filter_map(commit).collect()
}

/// What a git host is to be told of an event, as long as it is so: what came after it is told by an event of its own.
pub async fn of_event(
    service: &Service,
    account: u64,
    (name, connection): (&str, &Connection),
    told: &FeedEvent,
) -> Result<Vec<Telling>, ServiceError> {
    let Some(news) = News::of(&told.event) else { return Ok(Vec::new()) };
    let mut reading = service.reading(told.pipeline).await?;
    let Some(execution) = reading.execution(news.execution).await? else { return Ok(Vec::new()) };
    if fares(execution.progress.status) != news.fares {
        return Ok(Vec::new());
    }
    let declaration = reading.declaration(execution.start.version).await?;
    let mut commits = commits(&execution, &declaration, name);
    commits.retain(|(action, ..)| news.is_of(action, &execution));
    if commits.is_empty() {
        return Ok(Vec::new());
    }
    let token = token(service, account, connection).await.map_err(ServiceError::host)?;
    let api = Api { connection, token: &token };
    let context = format!("{CONTEXT}{}", declaration.name);
    let telling = |(_, repository, commit): (_, String, &str)| {
        api.status(
            &repository,
            commit,
            Status {
                fares: news.fares,
                context: &context,
                description: format!("Execution {} {}", news.execution, words(news.fares)),
                link: link(service, connection, &declaration.name),
            },
        )
    };
    Ok(commits.into_iter().map(telling).collect())
}

/// The secret of a connection, as it is now.
pub async fn token(service: &Service, account: u64, connection: &Connection) -> Result<SecretValue, String> {
    let place = connection.secret.clone().ok_or("the connection has no secret")?;
    let stored = service.host.actions.secrets.values(account, connection.stored()).await?;
    let read = service.work().blocking(move || place.read(&stored)).await;
    read.map_err(|reason| format!("the connection's secret cannot be read: {reason}"))
}
