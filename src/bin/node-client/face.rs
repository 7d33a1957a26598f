//! The two faces of the program: lines for a person, JSON for a script.

use crate::json;
use crate::screen::Screen;
use anjer::node::api::Event;

/// How events are shown.
#[derive(Debug)]
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
