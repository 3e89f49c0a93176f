//! ListRuleTypes, ListRuleExecutions.
//!
//! No plugin serves a rule yet, and no pipeline is taken that has one: both lists are empty, and refuse what any list does.

use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{ListRuleExecutionsOutput, ListRuleTypesOutput};

use super::{Context, Service, ServiceError};

pub async fn list_types(
    _: &Service,
    _: &Context,
    _: requests::ListRuleTypesInput,
) -> Result<ListRuleTypesOutput, ServiceError> {
    Ok(ListRuleTypesOutput::default())
}

pub async fn list_executions(
    service: &Service,
    context: &Context,
    input: requests::ListRuleExecutionsInput,
) -> Result<ListRuleExecutionsOutput, ServiceError> {
    let reading = service.listed_pipeline(context, &input.pipeline_name).await?;
    if let Some(id) = input.filter.as_ref().and_then(|filter| filter.wanted()) {
        reading.named(id).await?;
    }
    service.after(context, &format!("ListRuleExecutions {}", reading.pipeline), input.next_token.as_deref())?;
    Ok(ListRuleExecutionsOutput::default())
}
