//! What comes in from whoever types, whichever way it is read.

/// The longest line that is taken, in bytes without its end.
pub(crate) const MAX_LINE_BYTES: usize = 64 * 1024;

/// Lines that wait to be looked at; then the reading waits.
pub(crate) const QUEUE: usize = 64;

/// One thing that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A line, without its end.
    Line(String),
    /// A line longer than [`MAX_LINE_BYTES`]; it is gone.
    TooLong,
    /// A line that is not UTF-8; it is gone.
    NotText,
    /// Ctrl-C at the prompt.
    Interrupt,
    /// No more will come.
    End,
}

impl Input {
    /// A line of text, unless it is too long.
    pub(crate) fn line(text: &str) -> Self {
        if text.len() > MAX_LINE_BYTES { Self::TooLong } else { Self::Line(text.to_owned()) }
    }
}
