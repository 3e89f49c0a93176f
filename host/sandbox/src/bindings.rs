//! The plugin ABI as Rust: generated from `wit/`, nothing written by hand. In a module of its own so that edits
//! elsewhere in the crate do not generate it again.
#![allow(unreachable_pub, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "imports",
    imports: { default: async | trappable },
    additional_derives: [PartialEq],
    with: { "wasi": wasmtime_wasi::p2::bindings },
});
