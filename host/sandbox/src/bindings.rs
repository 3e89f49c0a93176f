//! The plugin ABI as Rust: generated from `wit/`, nothing written by hand. In a module of its own so that edits
//! elsewhere in the crate do not generate it again.
//!
//! The world is the union of all worlds of the ABI: a component exports some of these interfaces, and each is looked up
//! by its own `GuestIndices`. WASI's own interfaces are linked apart (state.rs) and are not part of it.
#![allow(unreachable_pub, missing_debug_implementations, dead_code, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package pipewright:host;
        world host {
            include pipewright:plugin/imports@0.1.0;
            export pipewright:plugin/plugin@0.1.0;
            export pipewright:plugin/source@0.1.0;
            export pipewright:plugin/build@0.1.0;
            export pipewright:plugin/test@0.1.0;
            export pipewright:plugin/deploy@0.1.0;
            export pipewright:plugin/approval@0.1.0;
            export pipewright:plugin/invoke@0.1.0;
            export pipewright:plugin/rule@0.1.0;
            export pipewright:plugin/checks@0.1.0;
        }
    ",
    world: "pipewright:host/host",
    imports: {
        // Whatever never waits is a plain call.
        "pipewright:plugin/commands": trappable,
        "pipewright:plugin/log": trappable,
        "pipewright:plugin/results": trappable,
        "pipewright:plugin/secrets": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
    with: { "wasi:http": wasmtime_wasi_http::p2::bindings::http, "wasi": wasmtime_wasi::p2::bindings },
    require_store_data_send: true,
});
