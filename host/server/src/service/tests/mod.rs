//! The service without an edge: each command and query as it is asked for, with what it gives and each way in which it is refused.

mod accounts;
mod action_types;
mod actions;
mod artifacts;
mod catalogue;
mod events;
mod executions;
mod lists;
mod logs;
mod pipelines;
mod plugins;
mod polls;
mod quarantine;
mod reports;
mod state;
mod tags;
mod world;
