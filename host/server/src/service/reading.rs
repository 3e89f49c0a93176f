//! One pipeline as a query reads it: its state, the declarations of its versions, and its executions, live or ended.
//!
//! Must not know what is shown of them.

use std::collections::HashMap;
use std::sync::Arc;

use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{Execution, ExecutionId, State};
use pipewright_runner::builds::is_own_pipeline;

use super::{Context, Service, ServiceError};

pub struct Reading<'a> {
    pub service: &'a Service,
    pub pipeline: Aggregate,
    pub state: Arc<State>,
    versions: HashMap<u32, Arc<PipelineDeclaration>>,
}

impl Service {
    /// A pipeline by where it is kept, also one that is deleted.
    pub(super) async fn reading(&self, pipeline: Aggregate) -> Result<Reading<'_>, ServiceError> {
        let state = self.driver().state(pipeline).await?;
        Ok(Reading { service: self, pipeline, state, versions: HashMap::new() })
    }

    /// A pipeline that has this name; its own answer says whether it exists. What runs the builds of a project is no pipeline
    /// of the account's.
    pub(super) async fn named(&self, context: &Context, name: &str) -> Result<Aggregate, ServiceError> {
        let found = self.driver().find(context.account, name).await?.filter(|_| !is_own_pipeline(name));
        found.ok_or_else(|| context.no_pipeline(name))
    }

    /// A pipeline that exists, with its state.
    pub(super) async fn pipeline(&self, context: &Context, name: &str) -> Result<Reading<'_>, ServiceError> {
        let reading = self.reading(self.named(context, name).await?).await?;
        if reading.state.head.is_some() { Ok(reading) } else { Err(context.no_pipeline(name)) }
    }

    /// The same, in the words of the operations that list what belongs to a pipeline.
    pub(super) async fn listed_pipeline(&self, context: &Context, name: &str) -> Result<Reading<'_>, ServiceError> {
        let found = self.pipeline(context, name).await;
        found.map_err(|error| {
            error.or_if_no_pipeline(|| {
                let account = context.account_id();
                let message =
                    format!("The account with AWS account ID '{account}' does not include a pipeline named '{name}'");
                ServiceError::refused("PipelineNotFoundException", message)
            })
        })
    }

    /// The same, in the words of the operations that have no error of their own for it.
    pub(super) async fn resource(&self, context: &Context, name: &str) -> Result<Reading<'_>, ServiceError> {
        let found = self.pipeline(context, name).await;
        found.map_err(|error| {
            error.or_if_no_pipeline(|| {
                let account = context.account_id();
                let message =
                    format!("The account with id '{account}' does not include a pipeline with the name '{name}'");
                ServiceError::not_found(message)
            })
        })
    }

    /// A pipeline, or what ran a build, also where it is gone: what an execution has left is read by one way, whatever it was for.
    pub(super) async fn runner(
        &self,
        context: &Context,
        name: &str,
        execution: &str,
    ) -> Result<Reading<'_>, ServiceError> {
        if !is_own_pipeline(name) {
            return self.pipeline(context, name).await;
        }
        let builds = self.builds().all(context.account).await?;
        let build = builds.into_iter().find(|build| build.pipeline == name && build.execution == execution);
        let build = build.ok_or_else(|| context.no_pipeline(name))?;
        self.reading(Aggregate { account: context.account, uid: build.uid }).await
    }

    /// An execution that its pipeline's name and its id lead to, also a build.
    pub(super) async fn execution(
        &self,
        context: &Context,
        pipeline: &str,
        id: &str,
    ) -> Result<(Aggregate, Arc<Execution>), ServiceError> {
        let reading = self.runner(context, pipeline, id).await?;
        Ok((reading.pipeline, reading.named(id).await?))
    }
}

impl Reading<'_> {
    pub fn current(&self) -> Result<&Arc<PipelineDeclaration>, ServiceError> {
        self.state.declaration.as_ref().ok_or_else(|| ServiceError::host("a pipeline without a declaration"))
    }

    /// The declaration that an execution of this version runs.
    pub async fn declaration(&mut self, version: u32) -> Result<Arc<PipelineDeclaration>, ServiceError> {
        if let Some(current) = &self.state.declaration
            && current.version == Some(version)
        {
            return Ok(Arc::clone(current));
        }
        if let Some(known) = self.versions.get(&version) {
            return Ok(Arc::clone(known));
        }
        let found = self.service.driver().version(self.pipeline, version).await?;
        let found = Arc::new(found.ok_or_else(|| ServiceError::host(format!("version {version} is missing")))?);
        self.versions.insert(version, Arc::clone(&found));
        Ok(found)
    }

    /// An execution, live or ended. A retried one is live again, and its record of the earlier end is out of date.
    pub async fn execution(&self, id: ExecutionId) -> Result<Option<Arc<Execution>>, ServiceError> {
        if let Some(live) = self.state.executions.get(&id) {
            return Ok(Some(Arc::clone(live)));
        }
        Ok(self.service.driver().archived(self.pipeline, id).await?.map(Arc::new))
    }

    /// The execution that a text names, or the error of the operations that need one.
    pub async fn named(&self, id: &str) -> Result<Arc<Execution>, ServiceError> {
        let found = match id.parse() {
            Ok(id) => self.execution(id).await?,
            Err(_) => None,
        };
        let name = self.state.declaration.as_ref().map_or("", |declaration| declaration.name.as_str());
        found.ok_or_else(|| {
            let message = format!("The pipeline '{name}' does not have an execution with ID '{id}'");
            ServiceError::refused("PipelineExecutionNotFoundException", message)
        })
    }
}
