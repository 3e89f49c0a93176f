//! CreatePipeline, GetPipeline, UpdatePipeline, DeletePipeline, ListPipelines.
//!
//! Must not know how a pipeline is judged (the core's `validate`) or kept (the driver).

use std::sync::Arc;

use pipewright_engine::driver::DriverError;
use pipewright_engine::driver::rows::PipelineRow;
use pipewright_pipeline::action_type::{is_of_plugins, nearest};
use pipewright_pipeline::declaration::{ActionTypeId, CreatePipelineInput, PipelineDeclaration};
use pipewright_pipeline::machine::{
    Declared, InputKind, Placed, Refusal, Reply, StartRequest, Trigger, TriggerType, all,
};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    CreatePipelineOutput, GetPipelineOutput, ListPipelinesOutput, PipelineMetadata, PipelineSummary, Time,
};
use pipewright_pipeline::secrets::{self, MaskGiven};
use pipewright_pipeline::validate::{self, Context as Known, ErrorClass, Problems};
use pipewright_runner::builds::is_own_pipeline;
use pipewright_runner::checks::Refused;
use serde_json::Value;

use super::{Context, Service, ServiceError, tags, views};

/// ListPipelines gives this many where the caller does not say.
const PIPELINES_PER_PAGE: usize = 1000;

/// An input that is judged as a whole, against the action types too.
pub struct Document(pub Value);

impl Service {
    /// Judges an input by one of the core's functions, against the action types that are served here.
    fn judge<T>(
        &self,
        context: &Context,
        document: &Value,
        judge: fn(&Value, &Known<'_>) -> Result<T, Problems>,
    ) -> Result<T, ServiceError> {
        let catalogue = self.catalogue(context);
        let known = Known { region: Some(self.region()), action_types: catalogue.types() };
        judge(document, &known).map_err(|problems| ServiceError::problems(&problems))
    }

    /// Custom types of actions and rules, and those that AWS and its partners do not have, are what plugins serve in this account.
    /// One of AWS's own that no plugin serves can be declared; what is of it fails.
    fn check_available(&self, context: &Context, declaration: &PipelineDeclaration) -> Result<(), ServiceError> {
        let unsupported = validate::unsupported(declaration);
        if !unsupported.is_empty() {
            return Err(Refusal::NotSupported(unsupported).into());
        }
        let catalogue = self.catalogue(context);
        let is_missing = |id: &ActionTypeId| !catalogue.types().contains_key(id) && is_of_plugins(id);
        let missing = |placed: Placed<'_>| {
            let id = Some(placed.declared.type_id()).filter(is_missing)?;
            let ActionTypeId { category, owner, provider, version } = &id;
            let hint = || nearest(&id).map(|known| format!(". The nearest that there is: {known}"));
            let reason = catalogue.yanked(&id).map(|reason| format!(": {reason}")).or_else(hint).unwrap_or_default();
            let (class, what) = match placed.declared {
                Declared::Action(_) => (ErrorClass::InvalidActionDeclaration, "ActionType"),
                Declared::Rule(_) => (ErrorClass::InvalidStageDeclaration, "RuleType"),
            };
            let told = format!(
                "{what} (Category: '{category:?}', Provider: '{provider}', Owner: '{owner:?}', Version: '{version}') in {} '{}' \
                 is not available in region {}{reason}",
                placed.declared.kind(),
                placed.declared.name(),
                self.region()
            );
            Some((class, told))
        };
        let missing: Vec<_> = all(declaration).filter_map(missing).collect();
        let Some((class, first)) = missing.first().cloned() else { return Ok(()) };
        Err(ServiceError::of_class(class, first).with_all(missing.into_iter().map(|(_, told)| told).collect()))
    }

    /// Refuses what the plugins of the account say is wrong (S280).
    async fn check_settings(&self, context: &Context, declaration: &PipelineDeclaration) -> Result<(), ServiceError> {
        let refused = self.host.actions.refused_settings(context.account, declaration).await;
        let told = refused.into_iter().map(|Refused { placed, setting, message }| {
            let (kind, name) = (placed.declared.kind(), placed.declared.name());
            let class = match placed.declared {
                Declared::Action(_) => ErrorClass::InvalidActionDeclaration,
                Declared::Rule(_) => ErrorClass::InvalidStageDeclaration,
            };
            let what = format!("configuration for {kind} '{name}' has an invalid value for configuration '{setting}'");
            (class, format!("{}.configuration.{setting}: {what}: it {message}", placed.path()))
        });
        let told: Vec<_> = told.collect();
        let Some((class, first)) = told.first().cloned() else { return Ok(()) };
        Err(ServiceError::of_class(class, first).with_all(told.into_iter().map(|(_, told)| told).collect()))
    }
}

fn mask_given(error: MaskGiven) -> ServiceError {
    ServiceError::of_class(ErrorClass::InvalidActionDeclaration, error.to_string())
}

pub async fn create(
    service: &Service,
    context: &Context,
    Document(document): Document,
) -> Result<CreatePipelineOutput, ServiceError> {
    let CreatePipelineInput { pipeline: mut declaration, tags: given } =
        service.judge(context, &document, validate::validate_input)?;
    service.check_available(context, &declaration)?;
    let catalogue = service.catalogue(context);
    secrets::restore(&mut declaration, None, catalogue.described()).map_err(mask_given)?;
    service.check_settings(context, &declaration).await?;
    let known = service.driver().pipelines(context.account).await?;
    let known = known.iter().filter(|(name, _)| !is_own_pipeline(name)).count();
    if known >= service.quotas.pipelines {
        return Err(ServiceError::Limit(format!("The account has {known} pipelines, which is its limit")));
    }
    let name = declaration.name.clone();
    let notes = given.as_ref().map(|tags| tags::note(tags)).transpose()?.into_iter().collect();
    let trigger = Trigger { kind: TriggerType::CreatePipeline, detail: context.principal() };
    let first = StartRequest { trigger, ..StartRequest::default() };
    let (driver, declaration) = (service.driver(), Arc::new(declaration));
    let created = driver.create(context.account, Arc::clone(&declaration), first, notes, &context.cause).await;
    let pipeline = created.map_err(|error| context.refused(&name, error))?;
    service.changes.of(pipeline);
    Ok(CreatePipelineOutput { pipeline: views::declaration(&declaration, catalogue.described()), tags: given })
}

pub async fn get(
    service: &Service,
    context: &Context,
    input: requests::GetPipelineInput,
) -> Result<GetPipelineOutput, ServiceError> {
    let reading = service.pipeline(context, &input.name).await?;
    let current = reading.current()?;
    let Some(head) = &reading.state.head else { return Err(ServiceError::host("a pipeline without a head")) };
    let declaration = match input.version {
        Some(version) if version != head.version => {
            let found = service.driver().version(reading.pipeline, version).await?;
            found.map(Arc::new).ok_or_else(|| {
                let message = format!("Pipeline '{}' does not have a version '{version}'", input.name);
                ServiceError::refused("PipelineVersionNotFoundException", message)
            })?
        }
        _ => Arc::clone(current),
    };
    let metadata = PipelineMetadata {
        pipeline_arn: service.arn(context, &input.name),
        created: Time(head.created),
        updated: Time(head.updated),
    };
    let catalogue = service.catalogue(context);
    Ok(GetPipelineOutput { pipeline: views::declaration(&declaration, catalogue.described()), metadata })
}

pub async fn update(
    service: &Service,
    context: &Context,
    Document(document): Document,
) -> Result<CreatePipelineOutput, ServiceError> {
    let mut declaration = service.judge(context, &document, validate::validate_update)?;
    service.check_available(context, &declaration)?;
    let name = declaration.name.clone();
    let reading = service.resource(context, &name).await?;
    let catalogue = service.catalogue(context);
    secrets::restore(&mut declaration, Some(reading.current()?), catalogue.described()).map_err(mask_given)?;
    service.check_settings(context, &declaration).await?;
    let updated = Arc::new(declaration.clone());
    let reply =
        service.driver().submit(reading.pipeline, InputKind::Update { declaration: updated }, &context.cause).await;
    if let Reply::Version(version) = reply.map_err(|error| context.refused(&name, error))? {
        declaration.version = Some(version);
    }
    service.changes.of(reading.pipeline);
    Ok(CreatePipelineOutput { pipeline: views::declaration(&declaration, catalogue.described()), tags: None })
}

/// A pipeline that is not there is deleted already: the operation models no other answer.
pub async fn delete(
    service: &Service,
    context: &Context,
    input: requests::DeletePipelineInput,
) -> Result<(), ServiceError> {
    let driver = service.driver();
    let found = driver.find(context.account, &input.name).await?;
    if let Some(pipeline) = found.filter(|_| !is_own_pipeline(&input.name)) {
        match driver.delete(pipeline, &input.name, &context.cause).await {
            Ok(()) | Err(DriverError::Refused(Refusal::PipelineNotFound)) => {}
            Err(error) => return Err(error.into()),
        }
        service.changes.of(pipeline);
    }
    Ok(())
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: requests::ListPipelinesInput,
) -> Result<ListPipelinesOutput, ServiceError> {
    const SCOPE: &str = "ListPipelines";
    let after = service.after(context, SCOPE, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(PIPELINES_PER_PAGE, |max| max as usize).min(PIPELINES_PER_PAGE);
    let mut rows = service.driver().list_pipelines(context.account, after, limit + 1).await?;
    let next_token = (rows.len() > limit).then(|| service.token(context, SCOPE, rows[limit - 1].name.as_bytes()));
    rows.truncate(limit);
    // What runs the builds of a project is no pipeline of the account's.
    rows.retain(|row| !is_own_pipeline(&row.name));
    let summary = |row: PipelineRow| PipelineSummary {
        name: row.name,
        version: row.version,
        pipeline_type: row.pipeline_type.unwrap_or_default(),
        execution_mode: row.execution_mode.unwrap_or_default(),
        created: Time(row.created),
        updated: Time(row.updated),
    };
    Ok(ListPipelinesOutput { pipelines: rows.into_iter().map(summary).collect(), next_token })
}
