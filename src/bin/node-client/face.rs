//! The two faces of the program: lines for a person, JSON for a script.

use crate::json;
use crate::screen::Screen;
use anjer::node::api::Event;

/// How events are shown.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of it")]
pub(crate) enum Face {
    /// To a script.
    Json,
    /// To a person.
    Screen(Screen),
}

impl Face {
    /// The text for `event`, whole lines; empty if it is not worth any.
    pub(crate) fn show(&mut self, event: &Event, t: u64) -> String {
        match self {
            Self::Json => json::line(event, t),
            Self::Screen(screen) => joined(&screen.lines(event, t)),
        }
    }

    /// The text for `?`.
    pub(crate) fn help(&self, t: u64) -> String {
        match self {
            Self::Json => json::help(t),
            Self::Screen(screen) => joined(&screen.help()),
        }
    }

    /// A command was typed while the node cannot listen yet. A script reads that in no event, and needs not.
    pub(crate) fn one_moment(&self) -> String {
        match self {
            Self::Json => String::new(),
            Self::Screen(screen) => joined(&screen.one_moment()),
        }
    }

    /// Quitting takes a while.
    pub(crate) fn still_leaving(&self) -> String {
        match self {
            Self::Json => String::new(),
            Self::Screen(screen) => joined(&screen.still_leaving()),
        }
    }

    /// `P` was typed.
    pub(crate) const fn expect_members(&mut self) {
        match self {
            Self::Json => {}
            Self::Screen(screen) => screen.expect_members(),
        }
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}
