//! The library's NATs by name.

use clap::ValueEnum;
use netem::{Behaviour, Filtering, Mapping};

/// Kinds that are found in the field; the library says what each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NatName {
    /// Whoever knows the port may come in
    FullCone,
    /// Only addresses that were sent to
    Restricted,
    /// Only addresses and ports that were sent to: most routers at home
    PortRestricted,
    /// Another random port for each remote
    Symmetric,
    /// The same, ports counted up, with other users
    SymmetricSequential,
    /// `masquerade`, with conntrack's clash
    Linux,
    /// A provider's, for many homes
    Cgnat,
    /// A mobile network at its worst
    Mobile,
}

impl NatName {
    pub(crate) fn behaviour(self) -> Behaviour {
        match self {
            Self::FullCone => Behaviour::full_cone(),
            Self::Restricted => Behaviour::restricted(),
            Self::PortRestricted => Behaviour::port_restricted(),
            Self::Symmetric => Behaviour::symmetric(),
            Self::SymmetricSequential => Behaviour::symmetric_sequential(),
            Self::Linux => Behaviour::linux(),
            Self::Cgnat => Behaviour::cgnat(),
            Self::Mobile => Behaviour::mobile(),
        }
    }
}

/// Every mapping with every filtering: nine.
pub(crate) fn every_type() -> impl Iterator<Item = (Mapping, Filtering)> {
    let mappings = [Mapping::Independent, Mapping::ByAddress, Mapping::ByAddressAndPort];
    let filterings = [Filtering::Independent, Filtering::ByAddress, Filtering::ByAddressAndPort];
    mappings.into_iter().flat_map(move |mapping| filterings.into_iter().map(move |filtering| (mapping, filtering)))
}
