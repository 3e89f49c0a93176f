//! Which settings of actions and rules are secret, and the mask by which a declaration is read back and given again (S18).
//!
//! Owns the mask: it is shown in place of a value, and never is one. Must not know who reads or gives a declaration.

use crate::action_type::{ActionTypes, is_of_plugins};
use crate::declaration::{ActionCategory, ActionOwner, ActionTypeId, PipelineDeclaration};
use crate::machine::{Placed, all, configuration_mut};

/// What is shown in place of a secret.
pub const MASK: &str = "****";

/// The settings that CodePipeline itself masks.
const MASKED: &[(ActionCategory, ActionOwner, &str, &[&str])] = &[
    (ActionCategory::Source, ActionOwner::ThirdParty, "GitHub", &["OAuthToken"]),
    (ActionCategory::Deploy, ActionOwner::ThirdParty, "AlexaSkillsKit", &["ClientId", "ClientSecret", "RefreshToken"]),
];

/// Whether a setting is secret: for the plugin that serves the type, or for CodePipeline, whoever serves it. Of a type that
/// only a plugin knew, and none does any more, every setting is.
pub fn is_secret(types: &ActionTypes, id: &ActionTypeId, setting: &str) -> bool {
    let is_known = match types.get(id) {
        Some(info) => info.properties.iter().any(|property| property.secret && property.name == setting),
        None => is_of_plugins(id),
    };
    is_known
        || MASKED.iter().any(|(category, owner, provider, settings)| {
            (*category, *owner, *provider) == (id.category, id.owner, &*id.provider) && settings.contains(&setting)
        })
}

/// The declaration without its secrets.
pub fn mask(declaration: &mut PipelineDeclaration, types: &ActionTypes) {
    each(declaration, types, |value| MASK.clone_into(value));
}

/// The secrets that a declaration holds itself.
pub fn secrets(declaration: &PipelineDeclaration, types: &ActionTypes) -> Vec<String> {
    let mut secrets = Vec::new();
    each(&mut declaration.clone(), types, |value| secrets.push(std::mem::take(value)));
    secrets
}

fn each(declaration: &mut PipelineDeclaration, types: &ActionTypes, mut found: impl FnMut(&mut String)) {
    let addresses: Vec<_> = all(declaration).map(|placed| (placed.address, placed.declared.type_id())).collect();
    for (address, id) in addresses {
        let settings = configuration_mut(declaration, address).into_iter().flatten();
        settings.filter(|(name, _)| is_secret(types, &id, name)).for_each(|(_, value)| found(value));
    }
}

/// A mask was given, and it is not certain what it stands for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{path}: the value is the mask {MASK}, by which a secret is shown, and it is not certain which secret was meant: give the \
     value itself"
)]
pub struct MaskGiven {
    /// `pipeline.stages[1].actions[0].configuration.Password`
    pub path: String,
}

/// Puts the stored secrets in the place of the masks by which they were read.
///
/// # Errors
/// It is not certain which secret a mask stands for; without something stored, it never is.
pub fn restore(
    declaration: &mut PipelineDeclaration,
    stored: Option<&PipelineDeclaration>,
    types: &ActionTypes,
) -> Result<(), MaskGiven> {
    let mut restored = Vec::new();
    for placed in all(declaration) {
        for setting in masked_settings(&placed, types) {
            let origin = stored.and_then(|stored| origin(stored, declaration, &placed, setting));
            let path = || format!("{}.configuration.{setting}", placed.path());
            let value = origin.ok_or_else(|| MaskGiven { path: path() })?;
            restored.push((placed.address, setting.to_owned(), value.to_owned()));
        }
    }
    for (address, setting, value) in restored {
        let configuration = configuration_mut(declaration, address);
        configuration.into_iter().for_each(|settings| drop(settings.insert(setting.clone(), value.clone())));
    }
    Ok(())
}

fn masked_settings<'a>(placed: &Placed<'a>, types: &'a ActionTypes) -> impl Iterator<Item = &'a str> + use<'a> {
    let id = placed.declared.type_id();
    let settings = placed.declared.configuration().into_iter().flatten();
    let masked = settings.filter(move |(name, value)| *value == MASK && is_secret(types, &id, name));
    masked.map(|(name, _)| name.as_str())
}

/// The stored value of a setting that was given masked, where it is certain: that of the action in the same place; else of the
/// one that was moved there or renamed; else the value that all actions of this type have.
fn origin<'a>(
    stored: &'a PipelineDeclaration,
    given: &'a PipelineDeclaration,
    placed: &Placed<'a>,
    setting: &str,
) -> Option<&'a str> {
    let type_id = placed.declared.type_id();
    let (stage, name) = (placed.stage.name.as_str(), placed.name_in_stage());
    let known = of_type(stored, &type_id, setting);
    if let Some(known) = known.iter().find(|known| known.is_at(stage, &name)) {
        return Some(known.value);
    }
    let given = of_type(given, &type_id, setting);
    let gone: Vec<_> =
        known.iter().filter(|known| !given.iter().any(|it| it.is_at(known.stage, &known.name))).collect();
    let is_new = |it: &&Holder<'_>| it.value == MASK && !known.iter().any(|known| known.is_at(it.stage, &it.name));
    let named = |holder: &Holder<'_>| holder.name == name;
    let moved: Vec<_> = gone.iter().filter(|known| named(known)).collect();
    match (&moved[..], given.iter().filter(is_new).filter(|it| named(it)).count()) {
        ([one], 1) => return Some(one.value),
        _ if gone.len() == 1 && given.iter().filter(is_new).count() == 1 => return Some(gone[0].value),
        _ => {}
    }
    let first = known.first()?;
    known.iter().all(|known| known.value == first.value).then_some(first.value)
}

/// An action or a rule that has a setting.
struct Holder<'a> {
    stage: &'a str,
    /// In its stage.
    name: String,
    value: &'a str,
}

impl Holder<'_> {
    fn is_at(&self, stage: &str, name: &str) -> bool {
        (self.stage, self.name.as_str()) == (stage, name)
    }
}

fn of_type<'a>(declaration: &'a PipelineDeclaration, type_id: &ActionTypeId, setting: &str) -> Vec<Holder<'a>> {
    let of_type = all(declaration).filter(|placed| placed.declared.type_id() == *type_id);
    let holder = |placed: Placed<'a>| {
        let value = placed.declared.configuration()?.get(setting)?;
        Some(Holder { stage: &placed.stage.name, name: placed.name_in_stage(), value })
    };
    of_type.filter_map(holder).collect()
}

#[cfg(test)]
mod tests;
