//! Everything that needs more than one crate, as one binary: the laws of the house, real pipelines, misbehaving guests,
//! crashes, and the command line as a person uses it.

mod abi;
mod acceptance;
mod accounts;
mod author_loop;
mod authors;
mod builds;
mod cases;
mod chain;
mod client;
mod commands;
mod contract;
mod crash;
mod crowds;
mod documents;
mod durability;
mod git;
mod git_cases;
mod git_server;
mod golden;
mod images;
mod javascript;
mod languages;
mod mistakes;
mod packages;
mod quarantine;
mod quickstart;
mod recordings;
mod reference;
mod run;
mod server;
mod terminal;
mod tidy;
mod tls;
mod tools;
mod work_trees;
