//! `plugin!`: makes a component of functions, and the description of the same functions.
//!
//! Everything here but the macro is for generated code.

use crate::answer::{Answer, Outcome, Step};
use crate::bindings::description::exports::pipewright::plugin::plugin::{ActionType, Count};
use crate::bindings::host::pipewright::plugin::types::{Category, Owner, Request, TypeId};
use crate::{Action, Failure, Result, Settings};

/// What `#[action]` says of a function.
pub struct Definition {
    pub owner: Owner,
    pub provider: &'static str,
    pub version: &'static str,
    pub inputs: (u32, u32),
    pub outputs: (u32, u32),
    pub documentation: &'static str,
}

/// Implemented by `#[action]` for a type of the function's name.
pub trait Defined {
    const DEFINITION: Definition;
}

pub fn describe<S: Settings, A: Answer<Done: Outcome>>(
    _: fn(&Action, S) -> Result<A>,
    category: Category,
    definition: &Definition,
) -> ActionType {
    let count = |(min, max)| Count { min, max };
    ActionType {
        id: TypeId {
            category,
            owner: definition.owner,
            provider: definition.provider.to_owned(),
            version: definition.version.to_owned(),
        },
        settings: S::describe(),
        inputs: count(definition.inputs),
        outputs: count(definition.outputs),
        variables: A::Done::variables(),
        documentation: definition.documentation.to_owned(),
    }
}

pub fn run<S, A, O>(function: fn(&Action, S) -> Result<A>, request: Request, revision: Option<String>) -> Result<O>
where
    S: Settings,
    A: Answer,
    O: From<Step<A::Done>>,
{
    let action = Action::new(request, revision);
    let settings = S::read(action.settings())?;
    Ok(function(&action, settings)?.step().into())
}

/// Whether a request is for this definition. The category is told by the interface that was called.
pub fn serves(definition: &Definition, id: &TypeId) -> bool {
    definition.owner == id.owner && definition.provider == id.provider && definition.version == id.version
}

pub fn not_offered(id: &TypeId) -> Failure {
    Failure::configuration(format!(
        "this plugin does not offer {:?} {:?}/{} version {}; bind another plugin to the action type",
        id.category, id.owner, id.provider, id.version
    ))
}

/// Makes a plugin of functions with `#[action]`: names it, says what it asks for, and lists the functions by category.
///
/// After `name` come, each at will and in this order, `asks`, `may_run_again` (default `true`; with `false` an action that
/// a crash of the host interrupted fails instead of running again), and the categories `source`, `build`, `test`,
/// `deploy`, `approval`, `invoke` and `rule`. The version is the crate's.
///
/// ```
/// use pipewright_sdk::prelude::*;
///
/// #[derive(Settings)]
/// struct Greeting {
///     /// Who is greeted.
///     #[setting(default = "world")]
///     name: String,
/// }
///
/// /// Writes a greeting.
/// #[action(provider = "Greeting", outputs = 1)]
/// fn greeting(action: &Action, settings: Greeting) -> Result<Report> {
///     std::fs::write(action.output()?.join("greeting.txt"), format!("Hello, {}!", settings.name))?;
///     Ok(Report::new("greeted"))
/// }
///
/// plugin! {
///     /// Greets.
///     name: "example/greeting",
///     build: [greeting],
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! plugin {
    (
        $(#[doc = $doc:literal])*
        name: $name:literal
        $(, asks: [$($ask:expr),* $(,)?])?
        $(, may_run_again: $again:literal)?
        $(, source: [$($source:ident),* $(,)?])?
        $(, build: [$($build:ident),* $(,)?])?
        $(, test: [$($test:ident),* $(,)?])?
        $(, deploy: [$($deploy:ident),* $(,)?])?
        $(, approval: [$($approval:ident),* $(,)?])?
        $(, invoke: [$($invoke:ident),* $(,)?])?
        $(, rule: [$($rule:ident),* $(,)?])?
        $(,)?
    ) => {
        const _: () = {
            use $crate::bindings::description::exports::pipewright::plugin::plugin as abi;

            struct Plugin;

            impl abi::Guest for Plugin {
                fn describe() -> abi::Description {
                    abi::Description {
                        name: $name.to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        documentation: <[&str]>::join(&[$($doc.trim()),*], "\n"),
                        action_types: [
                            $($($crate::describe!(Source $source),)*)?
                            $($($crate::describe!(Build $build),)*)?
                            $($($crate::describe!(Test $test),)*)?
                            $($($crate::describe!(Deploy $deploy),)*)?
                            $($($crate::describe!(Approval $approval),)*)?
                            $($($crate::describe!(Invoke $invoke),)*)?
                            $($($crate::describe!(Rule $rule),)*)?
                        ].into(),
                        asks: [$($($ask),*)?].into(),
                        may_run_again: true $(&& $again)?,
                    }
                }
            }
            // In use also where it is not exported: a native linker does not take the names of a component's exports.
            const _: fn() -> abi::Description = <Plugin as abi::Guest>::describe;
            #[cfg(target_family = "wasm")]
            $crate::bindings::description::export!(Plugin with_types_in $crate::bindings::description);
        };
        $($crate::export_source!($($source)*);)?
        $($crate::export_run!(build $($build)*);)?
        $($crate::export_run!(test $($test)*);)?
        $($crate::export_run!(deploy $($deploy)*);)?
        $($crate::export_run!(approval $($approval)*);)?
        $($crate::export_run!(invoke $($invoke)*);)?
        $($crate::export_run!(rule $($rule)*);)?
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! describe {
    ($category:ident $function:ident) => {
        $crate::export::describe(
            $function,
            $crate::bindings::host::pipewright::plugin::types::Category::$category,
            &<$function as $crate::export::Defined>::DEFINITION,
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_run {
    ($category:ident $($function:ident)*) => {
        const _: () = {
            use $crate::bindings::$category::exports::pipewright::plugin::$category as abi;
            use $crate::export::{Defined, not_offered, run, serves};

            struct Category;

            impl abi::Guest for Category {
                fn run(request: abi::Request) -> $crate::Result<abi::Outcome> {
                    $(if serves(&<$function as Defined>::DEFINITION, &request.action_type) {
                        return run($function, request, None);
                    })*
                    Err(not_offered(&request.action_type))
                }
            }
            // In use also where it is not exported: a native linker does not take the names of a component's exports.
            const _: fn(abi::Request) -> $crate::Result<abi::Outcome> = <Category as abi::Guest>::run;
            #[cfg(target_family = "wasm")]
            $crate::bindings::$category::export!(Category with_types_in $crate::bindings::$category);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_source {
    ($($function:ident)*) => {
        const _: () = {
            use $crate::bindings::source::exports::pipewright::plugin::source as abi;
            use $crate::export::{Defined, Latest, not_offered, run, serves};

            struct Category;

            impl abi::Guest for Category {
                fn latest(request: abi::Request) -> $crate::Result<abi::LatestOutcome> {
                    $(if serves(&<$function as Defined>::DEFINITION, &request.action_type) {
                        return <$function as Latest>::latest(request);
                    })*
                    Err(not_offered(&request.action_type))
                }

                fn fetch(request: abi::Request, revision: Option<String>) -> $crate::Result<abi::FetchOutcome> {
                    $(if serves(&<$function as Defined>::DEFINITION, &request.action_type) {
                        return run($function, request, revision);
                    })*
                    Err(not_offered(&request.action_type))
                }
            }
            // In use also where it is not exported: a native linker does not take the names of a component's exports.
            const _: fn(abi::Request) -> $crate::Result<abi::LatestOutcome> = <Category as abi::Guest>::latest;
            const _: fn(abi::Request, Option<String>) -> $crate::Result<abi::FetchOutcome> =
                <Category as abi::Guest>::fetch;
            #[cfg(target_family = "wasm")]
            $crate::bindings::source::export!(Category with_types_in $crate::bindings::source);
        };
    };
}

/// Implemented by `#[action(…, latest = …)]`.
pub trait Latest {
    fn latest(request: Request) -> Result<crate::bindings::source::exports::pipewright::plugin::source::LatestOutcome>;
}
