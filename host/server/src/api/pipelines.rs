//! CreatePipeline, GetPipeline, UpdatePipeline, DeletePipeline, ListPipelines.
//!
//! Must not know how a pipeline is judged (the core's `validate`) or kept (the driver).

use std::sync::Arc;

use pipewright_pipeline::action_type::is_of_plugins;
use pipewright_pipeline::declaration::{
    ActionTypeId, CreatePipelineInput, ExecutionMode, PipelineDeclaration, PipelineType, Tag,
};
use pipewright_pipeline::machine::{Refusal, Reply, StartRequest, State, Trigger, TriggerType, What};
use pipewright_pipeline::requests;
use pipewright_pipeline::validate::{self, Context, ErrorClass, Problems};
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::operations::NoBody;
use super::views::{self, Time};
use super::{Call, tags};
use pipewright_engine::driver::Aggregate;
use pipewright_engine::driver::DriverError;
use pipewright_engine::driver::rows::{PipelineRow, Row as _};

/// ListPipelines gives this many where the caller does not say.
const PIPELINES_PER_PAGE: usize = 1000;

/// An input that is judged as a whole, against the action types too.
pub struct Document(pub Value);

impl super::operations::Input for Document {
    fn read(document: &Value) -> Result<Self, ApiError> {
        Ok(Self(document.clone()))
    }
}

#[derive(Serialize)]
pub struct Created {
    pipeline: PipelineDeclaration,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<Tag>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    pipeline: PipelineDeclaration,
    metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    pipeline_arn: String,
    created: Time,
    updated: Time,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    name: String,
    version: u32,
    pipeline_type: PipelineType,
    execution_mode: ExecutionMode,
    created: Time,
    updated: Time,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pipelines: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl Call {
    /// A pipeline that exists, with its state.
    pub(super) async fn pipeline(&self, name: &str) -> Result<(Aggregate, Arc<State>), ApiError> {
        let account = self.account_id();
        self.find(name, || format!("Account '{account}' does not have a pipeline with name '{name}'")).await
    }

    /// The same, in the words of the operations that list what belongs to a pipeline (contract §9).
    pub(super) async fn listed_pipeline(&self, name: &str) -> Result<(Aggregate, Arc<State>), ApiError> {
        let account = self.account_id();
        let words =
            || format!("The account with AWS account ID '{account}' does not include a pipeline named '{name}'");
        self.find(name, words).await
    }

    async fn find(&self, name: &str, missing: impl Fn() -> String) -> Result<(Aggregate, Arc<State>), ApiError> {
        let driver = &self.api.host.driver;
        if let Some(pipeline) = driver.find(self.account, name).await? {
            let state = driver.state(pipeline).await?;
            if state.head.is_some() {
                return Ok((pipeline, state));
            }
        }
        Err(ApiError::new("PipelineNotFoundException", missing()))
    }

    /// A refused input, in the words of the API where the core does not know the account.
    pub(super) fn refused(&self, name: &str, error: DriverError) -> ApiError {
        let account = self.account_id();
        match error {
            DriverError::Refused(Refusal::PipelineNotFound) => ApiError::new(
                "PipelineNotFoundException",
                format!("Account '{account}' does not have a pipeline with name '{name}'"),
            ),
            DriverError::Refused(Refusal::PipelineNameInUse(name)) => ApiError::new(
                "PipelineNameInUseException",
                format!("A pipeline with the name '{name}' already exists in account '{account}'"),
            ),
            error => error.into(),
        }
    }

    /// Judges an input by one of the core's functions, against the action types that are served here.
    fn judge<T>(
        &self,
        document: &Value,
        judge: fn(&Value, &Context<'_>) -> Result<T, Problems>,
    ) -> Result<T, ApiError> {
        let catalogue = self.catalogue();
        let context = Context { region: Some(&self.api.region), action_types: catalogue.types() };
        judge(document, &context).map_err(|problems| ApiError::problems(&problems))
    }

    /// Custom action types, and those of third parties that AWS does not know, are what plugins serve in this account. One of AWS's own
    /// that no plugin serves can be declared; an action of it fails.
    fn check_available(&self, declaration: &PipelineDeclaration) -> Result<(), ApiError> {
        let catalogue = self.catalogue();
        for action in declaration.stages.iter().flat_map(|stage| &stage.actions) {
            let id = &action.action_type_id;
            if catalogue.types().contains_key(id) || !is_of_plugins(id) {
                continue;
            }
            let ActionTypeId { category, owner, provider, version } = id;
            let reason = catalogue.yanked(id).map(|reason| format!(": {reason}")).unwrap_or_default();
            return Err(ApiError::of_class(
                ErrorClass::InvalidActionDeclaration,
                format!(
                    "ActionType (Category: '{category:?}', Provider: '{provider}', Owner: '{owner:?}', Version: '{version}') in \
                     action '{}' is not available in region {}{reason}",
                    action.name, self.api.region
                ),
            ));
        }
        Ok(())
    }
}

pub async fn create(call: &Call, Document(document): Document) -> Result<Created, ApiError> {
    let CreatePipelineInput { pipeline: declaration, tags: given } = call.judge(&document, validate::validate_input)?;
    call.check_available(&declaration)?;
    let host = &call.api.host;
    let known = host.driver.pipelines_count(call.account).await?;
    if known >= call.api.quotas.pipelines {
        let message = format!("The account has {known} pipelines, which is its limit");
        return Err(ApiError::new("LimitExceededException", message));
    }
    let name = declaration.name.clone();
    let notes = given.as_ref().map(|tags| tags::note(tags)).transpose()?.into_iter().collect();
    let trigger = Trigger { kind: TriggerType::CreatePipeline, detail: call.caller.clone() };
    let pins = host.pins(call.account, &declaration).await?;
    let first = StartRequest { trigger, pins, ..StartRequest::default() };
    let declaration = Arc::new(declaration);
    let created = host.driver.create(call.account, Arc::clone(&declaration), first, notes, &call.cause()).await;
    let pipeline = created.map_err(|error| call.refused(&name, error))?;
    call.api.poller.changed(pipeline);
    let catalogue = call.catalogue();
    Ok(Created { pipeline: views::declaration(&declaration, catalogue.described()), tags: given })
}

pub async fn get(call: &Call, input: requests::GetPipelineInput) -> Result<Got, ApiError> {
    let (pipeline, state) = call.pipeline(&input.name).await?;
    let (Some(head), Some(current)) = (&state.head, &state.declaration) else {
        return Err(ApiError::internal(&"a pipeline without a declaration"));
    };
    let declaration = match input.version {
        Some(version) if version != head.version => {
            let found = call.api.host.driver.version(pipeline, version).await?;
            found.map(Arc::new).ok_or_else(|| {
                let message = format!("Pipeline '{}' does not have a version '{version}'", input.name);
                ApiError::new("PipelineVersionNotFoundException", message)
            })?
        }
        _ => Arc::clone(current),
    };
    let metadata =
        Metadata { pipeline_arn: call.arn(&input.name), created: Time(head.created), updated: Time(head.updated) };
    let catalogue = call.catalogue();
    Ok(Got { pipeline: views::declaration(&declaration, catalogue.described()), metadata })
}

pub async fn update(call: &Call, Document(document): Document) -> Result<Created, ApiError> {
    let mut declaration = call.judge(&document, validate::validate_update)?;
    call.check_available(&declaration)?;
    let name = declaration.name.clone();
    // The operation models no error for a pipeline that is not there.
    let found = call.pipeline(&name).await;
    let (pipeline, state) = found.map_err(|error| match error.code {
        "PipelineNotFoundException" => ApiError::validation(error.message),
        _ => error,
    })?;
    let catalogue = call.catalogue();
    if let Some(stored) = &state.declaration {
        views::unmask(&mut declaration, stored, catalogue.described());
    }
    let updated = Arc::new(declaration.clone());
    let reply = call.api.host.driver.submit(pipeline, What::Update { declaration: updated }).await;
    if let Reply::Version(version) = reply.map_err(|error| call.refused(&name, error))? {
        declaration.version = Some(version);
    }
    call.api.poller.changed(pipeline);
    Ok(Created { pipeline: views::declaration(&declaration, catalogue.described()), tags: None })
}

/// A pipeline that is not there is deleted already: the operation models no other answer (contract §13.8).
pub async fn delete(call: &Call, input: requests::DeletePipelineInput) -> Result<NoBody, ApiError> {
    let driver = &call.api.host.driver;
    if let Some(pipeline) = driver.find(call.account, &input.name).await? {
        match driver.delete(pipeline, &input.name, &call.cause()).await {
            Ok(()) | Err(DriverError::Refused(Refusal::PipelineNotFound)) => {}
            Err(error) => return Err(error.into()),
        }
        call.api.poller.changed(pipeline);
    }
    Ok(NoBody)
}

pub async fn list(call: &Call, input: requests::ListPipelinesInput) -> Result<Listed, ApiError> {
    const SCOPE: &str = "ListPipelines";
    let after = call.api.pages.after(SCOPE, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(PIPELINES_PER_PAGE, |max| max as usize).min(PIPELINES_PER_PAGE);
    let (all, after) = (bytes::Bytes::new(), after.map(Into::into));
    let rows = call.api.host.driver.rows::<PipelineRow>(call.account, all, after, limit).await?;
    let next_token = (rows.len() == limit).then(|| rows.last()).flatten();
    let next_token = next_token.map(|row| call.api.pages.token(SCOPE, &row.name()));
    let summary = |row: PipelineRow| Summary {
        name: row.name,
        version: row.version,
        pipeline_type: row.pipeline_type.unwrap_or_default(),
        execution_mode: row.execution_mode.unwrap_or_default(),
        created: Time(row.created),
        updated: Time(row.updated),
    };
    Ok(Listed { pipelines: rows.into_iter().map(summary).collect(), next_token })
}
