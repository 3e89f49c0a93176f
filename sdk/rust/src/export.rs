//! `plugin!`: makes a component of functions, and the description of the same functions.
//!
//! Everything here but the macro is for generated code.

use crate::answer::{Answer, Outcome, OutcomeOf};
use crate::bindings::checks::exports::pipewright::plugin::checks::Problem;
use crate::bindings::description::exports::pipewright::plugin::plugin::{ActionType, Count};
use crate::bindings::host::pipewright::plugin::types::{Category, NamedValue, Owner, Request, TypeId};
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

pub fn describe<O: OutcomeOf<A::Done>, S: Settings, A: Answer<Done: Outcome>>(
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
    O: OutcomeOf<A::Done>,
{
    let action = Action::new(request, revision);
    let settings = S::read(action.settings())?;
    Ok(O::of(function(&action, settings)?.step()))
}

pub fn check<S: Settings, A>(_: fn(&Action, S) -> Result<A>, settings: &[NamedValue]) -> Vec<Problem> {
    S::check(settings)
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

// In full paths: a function of the plugin's may have any name, and `use` would hide it.

/// What `plugin!` is made of, with its keys in this order.
#[doc(hidden)]
#[macro_export]
macro_rules! component {
    (
        $(#[doc = $doc:literal])*
        name: $name:literal,
        asks: [$($ask:expr),* $(,)?],
        may_run_again: $again:literal,
        types: [$($type:expr),*]
    ) => {
        const _: () = {
            use $crate::bindings::description::exports::pipewright::plugin::plugin as abi;

            struct Plugin;

            // In a function of its own: an action may well be called `ask`.
            fn asks() -> ::std::vec::Vec<abi::Ask> {
                #[allow(unused_imports)]
                use $crate::{Capability, ask};
                [$($ask),*].into()
            }

            impl abi::Guest for Plugin {
                fn describe() -> abi::Description {
                    abi::Description {
                        name: $name.to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                        documentation: <[&str]>::join(&[$($doc.trim()),*], "\n"),
                        action_types: [$($type),*].into(),
                        asks: asks(),
                        may_run_again: $again,
                    }
                }
            }
            // In use also where it is not exported: a native linker does not take the names of a component's exports.
            const _: fn() -> abi::Description = <Plugin as abi::Guest>::describe;
            #[cfg(target_family = "wasm")]
            $crate::bindings::description::export!(Plugin with_types_in $crate::bindings::description);
        };
    };
}

/// What an action of a category is, where the function fits the category.
#[doc(hidden)]
#[macro_export]
macro_rules! describe {
    (source $function:ident) => {{
        const fn says_what_is_new<T: $crate::export::Latest>() {}
        says_what_is_new::<$function>();
        $crate::describe!(source::FetchOutcome Source $function)
    }};
    (build $function:ident) => { $crate::describe!(build::Outcome Build $function) };
    (test $function:ident) => { $crate::describe!(test::Outcome Test $function) };
    (deploy $function:ident) => { $crate::describe!(deploy::Outcome Deploy $function) };
    (approval $function:ident) => { $crate::describe!(approval::Outcome Approval $function) };
    (invoke $function:ident) => { $crate::describe!(invoke::Outcome Invoke $function) };
    (compute $function:ident) => { $crate::describe!(build::Outcome Compute $function) };
    (rule $function:ident) => { $crate::describe!(rule::Outcome Rule $function) };
    ($module:ident::$outcome:ident $category:ident $function:ident) => {
        $crate::export::describe::<$crate::bindings::$module::exports::pipewright::plugin::$module::$outcome, _, _>(
            $function,
            $crate::bindings::host::pipewright::plugin::types::Category::$category,
            &<$function as $crate::export::Defined>::DEFINITION,
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_category {
    (source $($function:ident)*) => { $crate::export_source!($($function)*); };
    ($category:ident $($function:ident)*) => { $crate::export_run!($category $($function)*); };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_run {
    ($category:ident $($function:ident)*) => {
        const _: () = {
            use $crate::bindings::$category::exports::pipewright::plugin::$category as abi;

            struct Category;

            impl abi::Guest for Category {
                fn run(request: abi::Request) -> $crate::Result<abi::Outcome> {
                    $(if $crate::export::serves(&<$function as $crate::export::Defined>::DEFINITION, &request.action_type) {
                        return $crate::export::run($function, request, None);
                    })*
                    Err($crate::export::not_offered(&request.action_type))
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
macro_rules! export_checks {
    ($(($category:ident $function:ident))*) => {
        const _: () = {
            use $crate::bindings::checks::exports::pipewright::plugin::checks as abi;

            struct Checks;

            impl abi::Guest for Checks {
                fn check(id: abi::TypeId, settings: ::std::vec::Vec<abi::NamedValue>) -> ::std::vec::Vec<abi::Problem> {
                    $(if id.category == $crate::export::category::$category && $crate::export::serves(&<$function as $crate::export::Defined>::DEFINITION, &id) {
                        return $crate::export::check($function, &settings);
                    })*
                    ::std::vec::Vec::new()
                }
            }
            // In use also where it is not exported: a native linker does not take the names of a component's exports.
            const _: fn(abi::TypeId, ::std::vec::Vec<abi::NamedValue>) -> ::std::vec::Vec<abi::Problem> =
                <Checks as abi::Guest>::check;
            #[cfg(target_family = "wasm")]
            $crate::bindings::checks::export!(Checks with_types_in $crate::bindings::checks);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_source {
    ($($function:ident)*) => {
        const _: () = {
            use $crate::bindings::source::exports::pipewright::plugin::source as abi;

            struct Category;

            impl abi::Guest for Category {
                fn latest(request: abi::Request) -> $crate::Result<abi::LatestOutcome> {
                    $(if $crate::export::serves(&<$function as $crate::export::Defined>::DEFINITION, &request.action_type) {
                        return <$function as $crate::export::Latest>::latest(request);
                    })*
                    Err($crate::export::not_offered(&request.action_type))
                }

                fn fetch(request: abi::Request, revision: Option<String>) -> $crate::Result<abi::FetchOutcome> {
                    $(if $crate::export::serves(&<$function as $crate::export::Defined>::DEFINITION, &request.action_type) {
                        return $crate::export::run($function, request, revision);
                    })*
                    Err($crate::export::not_offered(&request.action_type))
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
#[diagnostic::on_unimplemented(
    message = "the source `{Self}` does not say what is new",
    note = "give its `#[action]` a function that does: `latest = function`"
)]
pub trait Latest {
    fn latest(request: Request) -> Result<crate::bindings::source::exports::pipewright::plugin::source::LatestOutcome>;
}

/// The categories as `plugin!` names them.
#[allow(non_upper_case_globals, reason = "the macro's own words")]
pub mod category {
    use super::Category;

    pub const source: Category = Category::Source;
    pub const build: Category = Category::Build;
    pub const test: Category = Category::Test;
    pub const deploy: Category = Category::Deploy;
    pub const approval: Category = Category::Approval;
    pub const invoke: Category = Category::Invoke;
    pub const compute: Category = Category::Compute;
    pub const rule: Category = Category::Rule;
}
