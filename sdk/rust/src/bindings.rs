//! The plugin ABI as Rust, generated from `wit/`; nothing written by hand but the worlds.
//!
//! In this repository `wit` is a link to the one that the host is built with; a package of the SDK has the files.
//!
//! One world for what a plugin may call, and one for each interface that it may offer. They are apart so that a
//! component exports only what its `plugin!` names: each world's `export!` puts that world's type into the component
//! and nothing else.
#![allow(unreachable_pub, clippy::all, reason = "generated")]

/// What a plugin may call, and the records that everything shares.
pub mod host {
    wit_bindgen::generate!({
        path: "wit",
        inline: "
            package pipewright:guest;
            world host {
                import pipewright:plugin/types@0.1.0;
                import pipewright:plugin/log@0.1.0;
                import pipewright:plugin/artifacts@0.1.0;
                import pipewright:plugin/secrets@0.1.0;
                import pipewright:plugin/commands@0.1.0;
                import pipewright:plugin/results@0.1.0;
                import pipewright:plugin/tools@0.1.0;
                import pipewright:plugin/caches@0.1.0;
                import wasi:http/outgoing-handler@0.2.12;
            }
        ",
        world: "pipewright:guest/host",
        generate_all,
    });
}

macro_rules! offered {
    ($($module:ident $world:literal $inline:literal)*) => {$(
        pub mod $module {
            wit_bindgen::generate!({
                path: "wit",
                inline: $inline,
                world: $world,
                with: { "pipewright:plugin/types@0.1.0": crate::bindings::host::pipewright::plugin::types },
                pub_export_macro: true,
            });
        }
    )*};
}

offered! {
    description "pipewright:guest/description"
        "package pipewright:guest; world description { export pipewright:plugin/plugin@0.1.0; }"
    source "pipewright:guest/source"
        "package pipewright:guest; world source { export pipewright:plugin/source@0.1.0; }"
    build "pipewright:guest/build"
        "package pipewright:guest; world build { export pipewright:plugin/build@0.1.0; }"
    test "pipewright:guest/test"
        "package pipewright:guest; world test { export pipewright:plugin/test@0.1.0; }"
    deploy "pipewright:guest/deploy"
        "package pipewright:guest; world deploy { export pipewright:plugin/deploy@0.1.0; }"
    approval "pipewright:guest/approval"
        "package pipewright:guest; world approval { export pipewright:plugin/approval@0.1.0; }"
    invoke "pipewright:guest/invoke"
        "package pipewright:guest; world invoke { export pipewright:plugin/invoke@0.1.0; }"
    rule "pipewright:guest/rule"
        "package pipewright:guest; world rule { export pipewright:plugin/rule@0.1.0; }"
    checks "pipewright:guest/checks"
        "package pipewright:guest; world checks { export pipewright:plugin/checks@0.1.0; }"
}
