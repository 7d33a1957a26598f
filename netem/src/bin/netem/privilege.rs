//! What is needed to make namespaces and devices, and how someone who is not root may get it.

use crate::failure::{Context, Failure};
use crate::namespace;
use nix::mount::{MsFlags, mount};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Set for the second start, inside the user namespace.
const MARKER: &str = "NETEM_IN_USER_NAMESPACE";

/// Returns if namespaces and devices can be made, as root or in a user namespace of ours, which takes a second start of the program.
pub(crate) fn ensure() -> Result<(), Failure> {
    if std::env::var_os(MARKER).is_some() {
        // Names of namespaces are files; here, in a mount namespace of ours, they need no rights outside.
        let options: Option<&str> = None;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), options)
            .context(|| "cannot mount /run in the user namespace".into())?;
    } else if !nix::unistd::geteuid().is_root() {
        let program = std::env::current_exe().context(|| "cannot find myself".into())?;
        let error = Command::new("unshare")
            .args(["--user", "--map-root-user", "--net", "--mount", "--"])
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(MARKER, "1")
            .exec();
        return Err(Failure::new(format!("run it as root; and without root there is no `unshare`: {error}")));
    }
    device()?;
    namespace::remove_leftovers();
    Ok(())
}

fn device() -> Result<(), Failure> {
    const DEVICE: &str = "/dev/net/tun";
    if !Path::new(DEVICE).exists() {
        return Err(Failure::new(format!("there is no {DEVICE}: `modprobe tun`, or give the device to the container")));
    }
    let opened = std::fs::OpenOptions::new().read(true).write(true).open(DEVICE);
    opened.map(drop).context(|| format!("cannot open {DEVICE} (run as root, or let others open it: chmod 666)"))
}
