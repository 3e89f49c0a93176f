//! ListRuleTypes, ListRuleExecutions.
//!
//! Must not know how history becomes a rule execution (`runs`), nor plugins.

use pipewright_pipeline::action_type::{ActionTypeInfo, ActionTypes};
use pipewright_pipeline::declaration::{ActionCategory, RuleCategory, RuleTypeId};
use pipewright_pipeline::machine::Declared;
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    ListRuleExecutionsOutput, ListRuleTypesOutput, RuleExecutionDetail, RuleExecutionInput, RuleExecutionOutput,
    RuleType, Time,
};

use super::action_types::{PROPERTIES_MAX, count, property};
use super::runs::{self, Ran, Wanted};
use super::{Context, Service, ServiceError};

/// The operation has no pages.
pub async fn list_types(
    service: &Service,
    context: &Context,
    input: requests::ListRuleTypesInput,
) -> Result<ListRuleTypesOutput, ServiceError> {
    let catalogue = service.catalogue(context);
    let here = input.region_filter.is_none_or(|region| region == service.region());
    let is_wanted = |info: &&ActionTypeInfo| {
        let is_owner = input.rule_owner_filter.is_none_or(|owner| info.id.owner == owner);
        here && is_owner && info.id.category == ActionCategory::Rule
    };
    let rule_types = catalogue.types().values().filter(is_wanted).map(|info| RuleType {
        id: RuleTypeId {
            category: RuleCategory::Rule,
            owner: Some(info.id.owner),
            provider: info.id.provider.clone(),
            version: Some(info.id.version.clone()),
        },
        rule_configuration_properties: info.properties.iter().take(PROPERTIES_MAX).map(property).collect(),
        input_artifact_details: count(info.inputs),
    });
    Ok(ListRuleTypesOutput { rule_types: rule_types.collect() })
}

pub async fn list_executions(
    service: &Service,
    context: &Context,
    input: requests::ListRuleExecutionsInput,
) -> Result<ListRuleExecutionsOutput, ServiceError> {
    let mut reading = service.listed_pipeline(context, &input.pipeline_name).await?;
    let wanted = Wanted {
        operation: "ListRuleExecutions",
        filter: input.filter.as_ref(),
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
    };
    let (runs, next_token) = runs::page::<true>(&mut reading, context, wanted).await?;
    let catalogue = service.catalogue(context);
    let rule_execution_details = runs.into_iter().map(|ran| detail(service, ran, catalogue.described())).collect();
    Ok(ListRuleExecutionsOutput { rule_execution_details, next_token })
}

fn detail(service: &Service, ran: Ran, types: &ActionTypes) -> RuleExecutionDetail {
    let [configuration, resolved_configuration] = ran.configuration(types);
    let rule = match ran.declared() {
        Some(Declared::Rule(rule)) => Some(rule),
        _ => None,
    };
    let type_id = &ran.began.type_id;
    RuleExecutionDetail {
        pipeline_execution_id: ran.row.execution.to_string(),
        rule_execution_id: ran.row.place.action.to_string(),
        pipeline_version: ran.began.version,
        start_time: Time(ran.row.place.started),
        last_update_time: Time(ran.updated()),
        status: ran.status(),
        input: RuleExecutionInput {
            rule_type_id: RuleTypeId {
                category: RuleCategory::Rule,
                owner: Some(type_id.owner),
                provider: type_id.provider.clone(),
                version: Some(type_id.version.clone()),
            },
            configuration,
            resolved_configuration,
            role_arn: rule.and_then(|rule| rule.role_arn.clone()),
            region: ran.region(service),
            input_artifacts: ran.inputs(),
        },
        output: RuleExecutionOutput { execution_result: ran.result() },
        stage_name: ran.began.stage,
        rule_name: ran.began.name,
    }
}
