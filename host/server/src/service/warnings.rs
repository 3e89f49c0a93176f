//! What keeps a pipeline from running as it is declared, as far as that is known before it runs.
//!
//! Must not keep anybody from declaring or starting something.

use std::collections::BTreeSet;

use pipewright_packages::plugins::label;
use pipewright_pipeline::action_type::unserved;
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId, PipelineDeclaration};
use pipewright_pipeline::machine::{Placed, all};
use pipewright_pipeline::variables::{self, Part, Reference};
use pipewright_runner::checks::Refused;
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::{builds, connections};
use pipewright_sandbox::abi::Capability;
use serde::Serialize;

use super::{Context, Service, ServiceError, functions};

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
            warnings.extend(without_commands(service, context, declaration, &grants));
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
    for placed in all(declaration) {
        let lacks = match functions::lacking(service, context.account, &placed) {
            None => without_connection(service, context.account, &placed).await?,
            lacks => lacks,
        };
        warnings.extend(lacks.map(|lacks| format!("{} fails when it is due: {lacks}", placed.name_in_pipeline())));
    }
    warnings.extend(without_value(declaration, |id| {
        let served = catalogue.bound(id)?;
        let described = served.about.action_types.iter().find(|described| label(&described.id) == id.to_string())?;
        Some(described.variables.iter().map(|variable| variable.name.clone()).collect())
    }));
    // What was made before its plugin judged so.
    let refused = service.host.actions.refused_settings(context.account, declaration).await;
    warnings.extend(refused.iter().map(|Refused { placed, setting, message }| {
        format!("{} fails when it is due: configuration.{setting} {message}", placed.name_in_pipeline())
    }));
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

/// References to variables that an action does not give: it gives those that its plugin says it does, and those that its own
/// declaration names. Of one that says nothing, nothing is known.
fn without_value(
    declaration: &PipelineDeclaration,
    described: impl Fn(&ActionTypeId) -> Option<Vec<String>>,
) -> Vec<String> {
    let actions =
        || declaration.stages.iter().flat_map(|stage| stage.actions.iter().map(move |action| (stage, action)));
    let given = |namespace: &str| {
        let (stage, action) = actions().find(|(_, action)| action.namespace.as_deref() == Some(namespace))?;
        let mut given = described(&action.action_type_id).filter(|described| !described.is_empty())?;
        given.extend(action.output_variables.iter().flatten().cloned());
        Some((format!("{}/{}", stage.name, action.name), given))
    };
    let mut warnings = Vec::new();
    for placed in all(declaration) {
        for (setting, value) in placed.declared.configuration().into_iter().flatten() {
            for part in variables::parse(value).unwrap_or_default() {
                let Part::Reference(Reference { namespace, key, text }) = part else { continue };
                if let Some((giver, given)) = given(namespace)
                    && !given.iter().any(|given| given == key)
                {
                    warnings.push(format!(
                        "{}: configuration.{setting}: nothing gives `#{{{text}}}` a value: {giver} gives {}",
                        placed.name_in_pipeline(),
                        given.join(", ")
                    ));
                }
            }
        }
    }
    warnings
}

/// Why an action that names a connection would fail for it.
async fn without_connection(
    service: &Service,
    account: u64,
    placed: &Placed<'_>,
) -> Result<Option<String>, ServiceError> {
    let settings = placed.declared.configuration();
    let named = settings.and_then(|settings| connections::named(&placed.declared.type_id(), settings));
    let Some(named) = named.filter(|named| named.is_needed) else { return Ok(None) };
    let found = service.host.actions.connection(account, &named.connection).await.map_err(ServiceError::host)?;
    Ok(found.is_none().then(|| connections::missing(&named.connection)))
}

/// Actions and rules that do nothing but run programs, and are granted none.
fn without_commands(
    service: &Service,
    context: &Context,
    declaration: &PipelineDeclaration,
    grants: &GrantsFile,
) -> Vec<String> {
    let catalogue = service.catalogue(context);
    let refused = all(declaration).filter_map(|placed| {
        let id = placed.declared.type_id();
        let runs_programs = id.owner == ActionOwner::AWS && ["CodeBuild", "Commands"].contains(&id.provider.as_str());
        let about = &catalogue.bound(&id).filter(|_| runs_programs)?.about;
        let place = placed.name_in_pipeline();
        let asks = about.asks.iter().any(|ask| matches!(ask.capability, Capability::Commands));
        let mend = format!("[action.{place:?}] of the pipeline's grants file needs `commands`, like `commands = {{ level = \"toolchain\" }}`");
        (asks && !grants.runs_commands(&place, &about.name, &about.version))
            .then(|| format!("{place} fails when it is due, for nothing lets it run programs: {mend}"))
    });
    refused.collect()
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

    #[test]
    fn a_variable_that_no_action_gives_is_told() {
        let id =
            |provider: &str| json!({ "category": "Build", "owner": "Custom", "provider": provider, "version": "1" });
        let check = |giver: &str, named: &[&str], text: &str, expected: &[&str]| {
            let declaration: PipelineDeclaration = serde_json::from_value(json!({
                "name": "shop", "roleArn": "arn:aws:iam::000000000000:role/test",
                "stages": [{ "name": "Build", "actions": [
                    { "name": "Count", "actionTypeId": id(giver), "namespace": "Count", "outputVariables": named },
                    { "name": "Use", "actionTypeId": id("Use"), "configuration": { "Text": text } },
                ] }],
            }))
            .unwrap();
            let described = |id: &ActionTypeId| match &*id.provider {
                "Counts" => Some(vec!["Words".to_owned(), "Lines".to_owned()]),
                "Silent" => Some(Vec::new()),
                _ => None,
            };
            assert_eq!(without_value(&declaration, described), expected, "{giver} {text}");
        };
        let told =
            "Build/Use: configuration.Text: nothing gives `#{Count.Wrods}` a value: Build/Count gives Words, Lines";
        check("Counts", &[], "in all #{Count.Wrods}, #{Count.Lines}", &[told]);
        for (giver, named, text) in [
            ("Counts", &["Wrods"][..], "#{Count.Wrods}"),
            ("Counts", &[], "#{Other.Wrods} #{codepipeline.PipelineExecutionId} #{"),
            ("Silent", &[], "#{Count.Wrods}"),
            ("Unserved", &[], "#{Count.Wrods}"),
        ] {
            check(giver, named, text, &[]);
        }
    }
}
