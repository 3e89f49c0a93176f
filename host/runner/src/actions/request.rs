//! What a plugin is told of its action: the declaration's words, with every variable resolved.
//!
//! Must not know what the plugin may reach.

use std::collections::BTreeMap;

use pipewright_pipeline::declaration::{EnvironmentVariableType, PipelineDeclaration};
use pipewright_pipeline::machine::{Declared, RunAction};
use pipewright_sandbox::abi;

use super::SandboxActions;
use crate::outcome;
use pipewright_packages::plugins::abi_type_id;
use pipewright_store::Aggregate;

impl SandboxActions {
    pub(super) fn request(&self, pipeline: Aggregate, run: &RunAction) -> abi::Request {
        let (stage, declared) = (&run.stage().name, run.declared());
        let mut request = self.bare_request(pipeline, &run.declaration, stage, declared, &run.configuration);
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

    /// The request of an action or a rule without an execution.
    pub(super) fn bare_request(
        &self,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        stage: &str,
        declared: Declared<'_>,
        configuration: &BTreeMap<String, String>,
    ) -> abi::Request {
        let outputs = declared.output_artifacts().iter();
        abi::Request {
            action_type: abi_type_id(&declared.type_id()),
            context: abi::Context {
                account: format!("{:012}", pipeline.account),
                region: declared.region().unwrap_or(&self.region).to_owned(),
                pipeline: declaration.name.clone(),
                execution_id: String::new(),
                stage: stage.to_owned(),
                action: declared.name().to_owned(),
                action_execution_id: String::new(),
            },
            settings: configuration.iter().map(|(name, value)| named(name, value)).collect(),
            inputs: Vec::new(),
            outputs: outputs
                .map(|o| abi::Output { name: o.name.clone(), files: o.files.clone().unwrap_or_default() })
                .collect(),
            commands: Vec::new(),
            environment: Vec::new(),
            output_variables: declared.output_variables().to_vec(),
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

pub(super) fn named(name: &str, value: &str) -> abi::NamedValue {
    abi::NamedValue { name: name.to_owned(), value: value.to_owned() }
}
