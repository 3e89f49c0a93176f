//! What a plugin is told of its action: the declaration's words, with every variable resolved.
//!
//! Must not know what the plugin may reach.

use std::collections::BTreeMap;

use pipewright_pipeline::declaration::{ActionDeclaration, EnvironmentVariableType, PipelineDeclaration};
use pipewright_pipeline::machine::RunAction;
use pipewright_sandbox::abi;

use super::SandboxActions;
use crate::outcome;
use pipewright_packages::plugins::abi_type_id;
use pipewright_store::Aggregate;

impl SandboxActions {
    pub(super) fn request(&self, pipeline: Aggregate, run: &RunAction, action: &ActionDeclaration) -> abi::Request {
        let mut request = self.bare_request(pipeline, &run.declaration, &run.stage().name, action, &run.configuration);
        request.context.execution_id = run.execution.to_string();
        request.context.action_execution_id = run.action_execution.to_string();
        request.inputs = run.inputs.iter().map(|(name, _)| name.clone()).collect();
        request.commands.clone_from(&run.commands);
        request.environment = variables(run, EnvironmentVariableType::Plaintext);
        request.idempotency_key = run.action_execution.to_string();
        request.attempt = run.attempt;
        request.resumed = run.resumed.as_ref().map(outcome::resumption);
        request
    }

    /// The request of an action without an execution.
    pub(super) fn bare_request(
        &self,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        stage: &str,
        action: &ActionDeclaration,
        configuration: &BTreeMap<String, String>,
    ) -> abi::Request {
        let outputs = action.output_artifacts.iter().flatten();
        abi::Request {
            action_type: abi_type_id(&action.action_type_id),
            context: abi::Context {
                account: format!("{:012}", pipeline.account),
                region: action.region.clone().unwrap_or_else(|| self.region.clone()),
                pipeline: declaration.name.clone(),
                execution_id: String::new(),
                stage: stage.to_owned(),
                action: action.name.clone(),
                action_execution_id: String::new(),
            },
            settings: configuration.iter().map(|(name, value)| named(name, value)).collect(),
            inputs: Vec::new(),
            outputs: outputs
                .map(|o| abi::Output { name: o.name.clone(), files: o.files.clone().unwrap_or_default() })
                .collect(),
            commands: Vec::new(),
            environment: Vec::new(),
            output_variables: action.output_variables.clone().unwrap_or_default(),
            idempotency_key: String::new(),
            attempt: 1,
            resumed: None,
        }
    }
}

/// The declaration's variables that are secrets, each with what names its secret.
pub(super) fn secret_environment(run: &RunAction) -> Vec<abi::NamedValue> {
    variables(run, EnvironmentVariableType::SecretsManager)
}

fn variables(run: &RunAction, kind: EnvironmentVariableType) -> Vec<abi::NamedValue> {
    let of_kind =
        run.environment.iter().filter(|variable| variable.kind.unwrap_or(EnvironmentVariableType::Plaintext) == kind);
    of_kind.map(|variable| named(&variable.name, &variable.value)).collect()
}

fn named(name: &str, value: &str) -> abi::NamedValue {
    abi::NamedValue { name: name.to_owned(), value: value.to_owned() }
}
