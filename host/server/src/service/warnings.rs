//! What keeps a pipeline from running as it is declared, as far as that is known before it runs.
//!
//! Must not keep anybody from declaring or starting something.

use std::collections::BTreeSet;

use pipewright_pipeline::action_type::unserved;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::all;
use pipewright_runner::builds;
use pipewright_runner::grants::GrantsFile;
use serde::Serialize;

use super::{Context, Service, ServiceError};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Warnings {
    pub warnings: Vec<String>,
}

pub async fn list(service: &Service, context: &Context, name: &str) -> Result<Warnings, ServiceError> {
    let reading = service.pipeline(context, name).await?;
    let declaration = reading.current()?;
    let mut warnings = match service.host.actions.grants_now(context.account, name).await {
        Ok(grants) => {
            let mut warnings = without_action(declaration, grants.actions());
            warnings.extend(without_project(service, context, declaration, &grants).await?);
            warnings
        }
        Err(reason) => vec![format!("no execution of {name} can start: {reason}")],
    };
    let catalogue = service.catalogue(context);
    let missing = all(declaration).filter_map(|placed| {
        let id = Some(placed.declared.type_id()).filter(|id| !catalogue.types().contains_key(id))?;
        let why = catalogue.yanked(&id).unwrap_or_else(|| unserved(&id, catalogue.types()));
        Some(format!("{} fails when it is due: {why}", placed.name_in_pipeline()))
    });
    warnings.extend(missing);
    Ok(Warnings { warnings })
}

/// Grants for what the pipeline does not have, so that nobody gets them.
fn without_action<'a>(declaration: &PipelineDeclaration, granted: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known: BTreeSet<String> = all(declaration).map(|placed| placed.name_in_pipeline()).collect();
    let unknown = granted.filter(|name| !known.contains(*name));
    let names = known.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    unknown
        .map(|name| format!("there is a grant for {name}, which {} does not have: it has {names}", declaration.name))
        .collect()
}

/// Builds of what is no project of the account's; whose projects are in a granted directory finds them there.
async fn without_project(
    service: &Service,
    context: &Context,
    declaration: &PipelineDeclaration,
    grants: &GrantsFile,
) -> Result<Vec<String>, ServiceError> {
    let mut warnings = Vec::new();
    for (placed, project) in builds::projects_of(declaration) {
        let place = placed.name_in_pipeline();
        let is_granted = grants.host_path(&place, builds::PROJECTS_GRANTED).is_some();
        if !is_granted && service.builds().project(context.account, project).await?.is_none() {
            let mend = "make it by CreateProject, or correct `ProjectName`";
            warnings.push(format!("{place} fails when it is due: there is no project `{project}`: {mend}"));
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_grant_for_nothing_is_told() {
        let id = json!({ "category": "Deploy", "owner": "Custom", "provider": "Ship", "version": "1" });
        let declaration: PipelineDeclaration = serde_json::from_value(json!({
            "name": "shop", "roleArn": "arn:aws:iam::000000000000:role/test",
            "stages": [{ "name": "Deploy", "actions": [{ "name": "Deploy", "actionTypeId": id }] }],
        }))
        .unwrap();
        let check = |granted: &[&str], expected: &[&str]| {
            assert_eq!(without_action(&declaration, granted.iter().copied()), expected, "{granted:?}");
        };
        check(&["Deploy/Deploy"], &[]);
        let told = "there is a grant for Deploy/Deploi, which shop does not have: it has Deploy/Deploy";
        check(&["Deploy/Deploi", "Deploy/Deploy"], &[told]);
    }
}
