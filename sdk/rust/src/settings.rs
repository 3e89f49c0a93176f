//! Typed settings and output variables over CodePipeline's string maps.
//!
//! The derives of the same names implement these traits; what they say of a plugin and what they read comes from the same
//! struct, so the two cannot differ.

use crate::bindings::checks::exports::pipewright::plugin::checks::Problem;
use crate::bindings::description::exports::pipewright::plugin::plugin::{Setting, SettingKind, Variable};
use crate::bindings::host::pipewright::plugin::types::NamedValue;
use crate::{Failure, Result};

/// The settings of an action: a struct with `#[derive(Settings)]`, or `()` for none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the settings of an action",
    note = "write `#[derive(Settings)]` above the struct, or take `()` for an action without settings"
)]
pub trait Settings: Sized {
    #[doc(hidden)]
    fn describe() -> Vec<Setting>;
    #[doc(hidden)]
    fn read(values: &[NamedValue]) -> Result<Self>;
    /// What is wrong with those values that are there.
    #[doc(hidden)]
    fn check(_values: &[NamedValue]) -> Vec<Problem> {
        Vec::new()
    }
}

impl Settings for () {
    fn describe() -> Vec<Setting> {
        Vec::new()
    }

    fn read(_: &[NamedValue]) -> Result<Self> {
        Ok(())
    }
}

/// A type that a setting may have: text, `bool`, a number, a choice, a list, an `Option` of these, or a type of the plugin's own, by
/// which a wrong value is refused when a pipeline is made, and not only when the action runs:
///
/// ```
/// use pipewright_sdk::SettingValue;
///
/// struct Percent(u8);
///
/// impl SettingValue for Percent {
///     fn parse(text: &str) -> Result<Self, String> {
///         let percent = text.parse().ok().filter(|percent| *percent <= 100);
///         percent.map(Percent).ok_or_else(|| "a whole number from 0 to 100".to_owned())
///     }
/// }
/// # assert!(Percent::parse("101").is_err() && Percent::parse("7").unwrap().0 == 7);
/// ```
#[diagnostic::on_unimplemented(
    message = "a setting cannot be a `{Self}`",
    note = "a setting is a String, a bool, a number (u8 to u64, i8 to i64, f64), a Vec<String>, an enum with \
            `#[derive(Choice)]`, a type with an `impl SettingValue`, or an Option of one of these"
)]
pub trait SettingValue: Sized {
    /// What the host takes it for: a text, unless it is said otherwise.
    #[doc(hidden)]
    const KIND: SettingKind = SettingKind::Text;
    /// Whether a setting of this type must be given.
    const REQUIRED: bool = true;
    /// If not empty, the only values allowed.
    const CHOICES: &'static [&'static str] = &[];

    /// Reads the value, by its text alone.
    ///
    /// # Errors
    /// What the value has to be, to follow "must be"; the text itself is told besides, unless the setting is secret.
    fn parse(text: &str) -> Result<Self, String>;

    /// The value of a setting that is not there and has no default.
    fn absent() -> Option<Self> {
        None
    }
}

impl SettingValue for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl SettingValue for bool {
    const KIND: SettingKind = SettingKind::Boolean;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "`true` or `false`".to_owned())
    }
}

macro_rules! whole_numbers {
    ($($kind:ty)*) => {$(
        impl SettingValue for $kind {
            const KIND: SettingKind = SettingKind::Number;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("a whole number from {} to {}", <$kind>::MIN, <$kind>::MAX))
            }
        }
    )*};
}

whole_numbers!(u8 u16 u32 u64 i8 i16 i32 i64);

impl SettingValue for f64 {
    const KIND: SettingKind = SettingKind::Number;

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "a number".to_owned())
    }
}

impl SettingValue for Vec<String> {
    const KIND: SettingKind = SettingKind::List;

    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|_| "a JSON array of strings, like `[\"a\", \"b\"]`".to_owned())
    }
}

impl<T: SettingValue> SettingValue for Option<T> {
    const KIND: SettingKind = T::KIND;
    const REQUIRED: bool = false;
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn parse(text: &str) -> Result<Self, String> {
        T::parse(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// What a plugin says of one setting; for the derive.
#[doc(hidden)]
pub fn describe<T: SettingValue>(name: &str, default: Option<&str>, secret: bool, documentation: &str) -> Setting {
    Setting {
        name: name.to_owned(),
        kind: T::KIND,
        required: T::REQUIRED && default.is_none(),
        secret,
        default: default.map(str::to_owned),
        choices: T::CHOICES.iter().map(|&choice| choice.to_owned()).collect(),
        documentation: documentation.to_owned(),
    }
}

/// Reads one setting; for the derive. A secret one's value is never quoted.
#[doc(hidden)]
pub fn read<T: SettingValue>(values: &[NamedValue], name: &str, default: Option<&str>, secret: bool) -> Result<T> {
    let given = values.iter().find(|value| value.name == name).map(|value| value.value.as_str());
    let Some(text) = given.or(default) else {
        return T::absent().ok_or_else(|| {
            Failure::configuration(format!("setting `{name}` is missing; add it to the action's configuration"))
        });
    };
    T::parse(text).map_err(|must_be| {
        let wrong = wrong(&must_be, if secret { None } else { Some(text) });
        Failure::configuration(format!("setting `{name}` {wrong}; correct it in the action's configuration"))
    })
}

fn wrong(must_be: &str, text: Option<&str>) -> String {
    let text = text.map_or_else(|| "another value".to_owned(), |text| format!("`{text}`"));
    format!("must be {must_be}, and is {text}")
}

/// What is wrong with one setting, if it is there; for the derive.
#[doc(hidden)]
pub fn check<T: SettingValue>(values: &[NamedValue], name: &str) -> Option<Problem> {
    let text = &values.iter().find(|value| value.name == name)?.value;
    let must_be = T::parse(text).err()?;
    Some(Problem { setting: name.to_owned(), message: wrong(&must_be, Some(text)) })
}

/// Tells all that is wrong at once, for each costs its reader an execution; for the derive.
#[doc(hidden)]
pub fn all_read<'a>(wrong: impl IntoIterator<Item = Option<&'a Failure>>) -> Result<()> {
    let messages: Vec<&str> = wrong.into_iter().flatten().map(|failure| failure.message.as_str()).collect();
    if messages.is_empty() { Ok(()) } else { Err(Failure::configuration(messages.join("\n"))) }
}

/// The output variables of an action: a struct with `#[derive(Variables)]`, `()` for none, or a list of names and values
/// where only the run shows the names.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the output variables of an action",
    note = "write `#[derive(Variables)]` above the struct"
)]
pub trait Variables {
    #[doc(hidden)]
    fn describe() -> Vec<Variable>;
    #[doc(hidden)]
    fn values(self) -> Vec<NamedValue>;
}

impl Variables for () {
    fn describe() -> Vec<Variable> {
        Vec::new()
    }

    fn values(self) -> Vec<NamedValue> {
        Vec::new()
    }
}

impl Variables for Vec<(String, String)> {
    fn describe() -> Vec<Variable> {
        Vec::new()
    }

    fn values(self) -> Vec<NamedValue> {
        self.into_iter().map(|(name, value)| NamedValue { name, value }).collect()
    }
}

/// A type that an output variable may have; `None` leaves the variable out.
#[diagnostic::on_unimplemented(
    message = "an output variable cannot be a `{Self}`",
    note = "a variable is a String, a bool, a number (u8 to u64, usize, i8 to i64, f64), or an Option of one of these"
)]
pub trait VariableValue {
    /// The variable's text; `None` leaves the variable out.
    fn value(self) -> Option<String>;
}

impl VariableValue for String {
    fn value(self) -> Option<String> {
        Some(self)
    }
}

impl<T: VariableValue> VariableValue for Option<T> {
    fn value(self) -> Option<String> {
        self.and_then(T::value)
    }
}

macro_rules! shown {
    ($($kind:ty)*) => {$(
        impl VariableValue for $kind {
            fn value(self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

shown!(bool u8 u16 u32 u64 usize i8 i16 i32 i64 f64);
