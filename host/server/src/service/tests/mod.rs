//! The service without an edge: each command and query as it is asked for, with what it gives and each way in which it is refused.

mod accounts;
mod action_types;
mod actions;
mod artifacts;
mod builds;
mod catalogue;
mod connections;
mod deploys;
mod events;
mod executions;
mod lists;
mod logs;
mod notifications;
mod pipelines;
mod plugins;
mod polls;
mod quarantine;
mod reports;
mod rules;
mod secrets;
mod state;
mod tags;
mod warnings;
mod webhooks;
mod world;
