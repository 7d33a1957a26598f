//! Programs of others that a subcommand needs.

use crate::failure::Failure;

/// Fails with what to install unless each of them is there: its name, and the package of Debian that has it.
pub(crate) fn require(tools: &[(&str, &str)]) -> Result<(), Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (tool, package) in tools {
        if !std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()) {
            return Err(Failure::new(format!("`{tool}` is not installed: `apt-get install {package}`")));
        }
    }
    Ok(())
}
