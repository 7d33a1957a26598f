//! Behind what a host can be.

use crate::failure::Failure;
use crate::kernel;
use clap::ValueEnum;
use netem::{Behaviour, MATRIX};

/// A kind of the matrix, or any other that the library has a name for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kind {
    pub(crate) name: String,
    /// What it is, also where the kernel does it. Empty: a public address.
    pub(crate) nats: Vec<Behaviour>,
    pub(crate) kernel: Option<kernel::Kind>,
}

impl Kind {
    /// The model's of this name.
    pub(crate) fn model(name: &str) -> Result<Self, Failure> {
        let chain = MATRIX.iter().find(|(kind, _)| *kind == name).map(|(_, make)| make());
        let nats = chain.or_else(|| Behaviour::named(name).map(|behaviour| vec![behaviour]));
        let known = || MATRIX.map(|(name, _)| name).join(", ");
        let nats = nats.ok_or_else(|| Failure::new(format!("no kind {name}; those of the matrix are {}", known())))?;
        Ok(Self { name: name.into(), nats, kernel: None })
    }

    /// The kernel's of this name. `None`: it has none.
    pub(crate) fn of_the_kernel(name: &str) -> Result<Option<Self>, Failure> {
        let model = Self::model(name)?;
        if model.nats.is_empty() {
            return Ok(Some(model));
        }
        let name_of_ours = if name == "linux" { "clashing" } else { name };
        let kernel = kernel::Kind::from_str(name_of_ours, false).ok();
        Ok(kernel.map(|kernel| Self { kernel: Some(kernel), ..model }))
    }
}
