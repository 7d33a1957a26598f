//! The library's NATs, as they are asked for.

use netem::{Behaviour, Filtering, Mapping};

/// The kind of this name.
pub(crate) fn kind(name: &str) -> Result<Behaviour, String> {
    Behaviour::named(name).ok_or_else(|| format!("the kinds are {}", Behaviour::KINDS.map(|(name, _)| name).join(", ")))
}

/// Every mapping with every filtering: nine.
pub(crate) fn every_type() -> impl Iterator<Item = (Mapping, Filtering)> {
    let mappings = [Mapping::Independent, Mapping::ByAddress, Mapping::ByAddressAndPort];
    let filterings = [Filtering::Independent, Filtering::ByAddress, Filtering::ByAddressAndPort];
    mappings.into_iter().flat_map(move |mapping| filterings.into_iter().map(move |filtering| (mapping, filtering)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_name_and_the_others_are_listed() {
        assert_eq!(kind("symmetric"), Ok(Behaviour::symmetric()));
        assert!(kind("cone").is_err_and(|error| error.contains("port-restricted")));
    }
}
