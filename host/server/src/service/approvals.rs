//! Requests for approval in the shape of the message that CodePipeline sends to the topic of an action's `NotificationArn`, as SNS
//! brings it by HTTP.
//!
//! Owns the shape. Must not know who is told.

use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::declaration::ActionDeclaration;
use pipewright_pipeline::machine::{ActionEvent, ActionHappening, Awaited, Declared, Event, Timestamp};
use pipewright_text::cut_chars;
use serde_json::{Value, json};

use super::{Service, ServiceError, eventbridge};

/// Longest subject of a message, as SNS has it.
const SUBJECT_CHARS_MAX: usize = 100;
/// Action executions of one execution that are gone over to find one; a pipeline has no more actions.
const ACTIONS_MAX: usize = 1000;

/// An action that asks for an answer.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pipeline: Aggregate,
    name: String,
    action: ActionEvent,
}

impl Request {
    /// None of an event that is no request.
    pub(super) fn of(pipeline: Aggregate, name: &str, event: &Event) -> Option<Self> {
        let Event::Action(action) = event else { return None };
        let ActionHappening::Waiting(wait) = &action.what else { return None };
        let asks = wait.awaits.contains(&Awaited::Approval);
        asks.then(|| Self { pipeline, name: name.to_owned(), action: (**action).clone() })
    }
}

/// None where the action names no topic.
pub(super) async fn message(
    service: &Service,
    request: &Request,
    (id, at): (&str, Timestamp),
) -> Result<Option<Value>, ServiceError> {
    let Request { pipeline, name, action: event } = request;
    let Some(version) = service.driver().version(*pipeline, event.version).await? else { return Ok(None) };
    let stage = version.stages.iter().find(|stage| stage.name == event.stage);
    let declared = stage.and_then(|stage| stage.actions.iter().find(|action| action.name == event.action));
    let Some(action) = declared else { return Ok(None) };
    let (started, resolved) = started(service, *pipeline, event).await?.unwrap_or((at, None));
    let configuration = resolved.or_else(|| action.configuration.clone()).unwrap_or_default();
    let setting = |key: &str| configuration.get(key).filter(|value| !value.is_empty());
    let Some(topic) = setting("NotificationArn") else { return Ok(None) };
    let link = format!("{}/v1/pipelines/{name}/events", service.endpoint);
    let message = json!({
        "region": service.region(),
        "consoleLink": link,
        "approval": {
            "pipelineName": name,
            "stageName": event.stage,
            "actionName": event.action,
            "token": event.action_execution.to_string(),
            "expires": expires(action, started),
            "externalEntityLink": setting("ExternalEntityLink"),
            "approvalReviewLink": link,
            "customData": setting("CustomData"),
        },
    });
    let mut subject = format!("APPROVAL NEEDED: AWS CodePipeline {name} for action {}", event.action);
    cut_chars(&mut subject, SUBJECT_CHARS_MAX);
    Ok(Some(json!({
        "Type": "Notification",
        "MessageId": id,
        "TopicArn": topic,
        "Subject": subject,
        "Message": message.to_string(),
        "Timestamp": eventbridge::time(at.0),
    })))
}

/// As CodePipeline writes it: `2016-07-07T20:22Z`.
fn expires(action: &ActionDeclaration, started: Timestamp) -> String {
    let mut time = eventbridge::time(started.plus(Declared::Action(action).timeout_milliseconds()).0);
    // Without its seconds.
    time.truncate("2016-07-07T20:22".len());
    time + "Z"
}

/// When the action started, and its configuration with variables resolved, where it has any.
async fn started(
    service: &Service,
    pipeline: Aggregate,
    event: &ActionEvent,
) -> Result<Option<(Timestamp, Option<Settings>)>, ServiceError> {
    let actions = service.driver().list_runs_of::<false>(pipeline, event.execution, None, ACTIONS_MAX).await?;
    let Some(records) = actions.into_iter().find(|records| records.place.action == event.action_execution) else {
        return Ok(None);
    };
    let entry = match records.start {
        Some(sequence) => service.driver().entry(pipeline, sequence).await?,
        None => None,
    };
    let resolved = entry.into_iter().flat_map(|entry| entry.events).find_map(|told| match told {
        Event::Action(action) if action.action_execution == event.action_execution => match action.what {
            ActionHappening::Started { resolved_configuration, .. } => resolved_configuration,
            _ => None,
        },
        _ => None,
    });
    Ok(Some((records.place.started, resolved)))
}

type Settings = std::collections::BTreeMap<String, String>;
