//! Tests of the machine as a whole: scripts with traces to read, and properties of random runs.

mod bounds;
mod cost;
mod limits;
mod pipelines;
mod properties;
mod scenarios;
mod scenarios_approvals;
mod scenarios_automatic;
mod scenarios_conditions;
mod scenarios_jobs;
mod scenarios_mode_changes;
mod scenarios_modes;
mod scenarios_rollback;
mod scenarios_stop_retry;
mod scenarios_waiting;
mod script;
mod story;
mod world;
