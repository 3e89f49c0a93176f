//! Where something that runs stands in the declaration that its execution pinned.
//!
//! Owns the addresses and their text form, which is part of stored keys and never changes. Must not know what is declared
//! there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An action: indices of its stage and of the action in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionAddress {
    pub stage: u16,
    pub action: u16,
}

/// A rule of one of a stage's conditions: a stage has at most one condition of each type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleAddress {
    pub stage: u16,
    pub condition: ConditionType,
    pub rule: u16,
}

/// CodePipeline's ConditionType, and the condition on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConditionType {
    BeforeEntry,
    OnSuccess,
    OnFailure,
}

/// What runs in an execution. Written `action/STAGE/ACTION` or `rule/STAGE/CONDITION/RULE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Action(ActionAddress),
    Rule(RuleAddress),
}

/// A text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address of an action or a rule")]
pub struct InvalidAddress(String);

const CONDITIONS: [(ConditionType, &str); 3] = [
    (ConditionType::BeforeEntry, "before-entry"),
    (ConditionType::OnSuccess, "on-success"),
    (ConditionType::OnFailure, "on-failure"),
];

impl ConditionType {
    /// The member of a stage's declaration that holds conditions of this type.
    pub fn member(self) -> &'static str {
        match self {
            ConditionType::BeforeEntry => "beforeEntry",
            ConditionType::OnSuccess => "onSuccess",
            ConditionType::OnFailure => "onFailure",
        }
    }
}

impl Address {
    /// The index of the stage that it is in.
    pub fn stage(self) -> usize {
        match self {
            Address::Action(action) => usize::from(action.stage),
            Address::Rule(rule) => usize::from(rule.stage),
        }
    }
}

impl From<ActionAddress> for Address {
    fn from(action: ActionAddress) -> Address {
        Address::Action(action)
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CONDITIONS[*self as usize].1)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Action(ActionAddress { stage, action }) => write!(f, "action/{stage}/{action}"),
            Address::Rule(RuleAddress { stage, condition, rule }) => write!(f, "rule/{stage}/{condition}/{rule}"),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Address, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let index = |text: &str| text.parse::<u16>().map_err(|_| invalid());
        match text.split('/').collect::<Vec<_>>()[..] {
            ["action", stage, action] => {
                Ok(Address::Action(ActionAddress { stage: index(stage)?, action: index(action)? }))
            }
            ["rule", stage, condition, rule] => {
                let named = CONDITIONS.iter().find(|(_, name)| *name == condition);
                let (condition, _) = named.ok_or_else(invalid)?;
                Ok(Address::Rule(RuleAddress { stage: index(stage)?, condition: *condition, rule: index(rule)? }))
            }
            _ => Err(invalid()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        let check = |text: &str, address: Option<Address>| {
            assert_eq!(text.parse().ok(), address, "{text}");
            assert_eq!(address.map_or(text.to_owned(), |address| address.to_string()), text);
        };
        let rule = |condition| Some(Address::Rule(RuleAddress { stage: 3, condition, rule: 4 }));
        check("action/0/49", Some(Address::Action(ActionAddress { stage: 0, action: 49 })));
        check("rule/3/before-entry/4", rule(ConditionType::BeforeEntry));
        check("rule/3/on-success/4", rule(ConditionType::OnSuccess));
        check("rule/3/on-failure/4", rule(ConditionType::OnFailure));
        for text in ["", "action", "action/0", "action/0/-1", "action/0/65536", "action/0/1/2", "rule/0/sometimes/1"] {
            check(text, None);
        }
    }
}
