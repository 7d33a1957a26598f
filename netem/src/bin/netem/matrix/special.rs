//! What is no pair of kinds.

use super::options::Options;
use crate::failure::Failure;
use crate::signals::Signals;
use std::process::ExitCode;

pub(crate) fn main(options: &Options, signals: &Signals) -> Result<ExitCode, Failure> {
    let _ = (options, signals);
    Ok(ExitCode::SUCCESS)
}
