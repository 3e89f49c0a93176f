//! Log lines and progress of the running action.

pub use crate::bindings::host::pipewright::plugin::log::Level;
use crate::host::log as host;

/// Writes a line; [`info!`](crate::info) and its sisters are shorter.
pub fn write(level: Level, message: &str) {
    host::write(level, message);
}

/// Says how far the action is: `percent` from 0 to 100 where it is known, and what it does just now.
pub fn progress(percent: Option<u8>, summary: &str) {
    host::progress(percent.map(|percent| percent.min(100)), summary);
}

/// Logs a line for whoever looks for a fault.
#[macro_export]
macro_rules! debug {
    ($($part:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($part)*)) };
}

/// Logs a line.
#[macro_export]
macro_rules! info {
    ($($part:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($part)*)) };
}

/// Logs something that a person should look at, and that does not fail the action.
#[macro_export]
macro_rules! warn {
    ($($part:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($part)*)) };
}

/// Logs what fails the action.
#[macro_export]
macro_rules! error {
    ($($part:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($part)*)) };
}
