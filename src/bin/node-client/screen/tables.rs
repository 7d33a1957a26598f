//! Answers that are tables: who is there, what is on offer, and why things are as they are.

use super::phrases::{adverb, because, digits, how};
use super::{FILE_COLUMNS, NAME_COLUMNS, Screen};
use crate::harmless::{cut, harmless};
use crate::{table, units};
use anjer::node::api::{Election, FileListing, Member, PathExplained, RankExplained, Role};

impl Screen {
    /// What is on offer.
    pub(super) fn files(&self, files: &[FileListing]) -> Vec<String> {
        if files.is_empty() {
            return vec![self.news("Nothing is on offer. B and a file name offers one.".into())];
        }
        let mut rows = vec![["name", "size", "hash", "held by"].map(str::to_owned).to_vec()];
        rows.extend(files.iter().map(|file| {
            let holders: Vec<String> = file.holders.iter().map(|id| self.name(id)).collect();
            vec![
                cut(&file.name, FILE_COLUMNS),
                units::bytes(file.size),
                digits(&file.hash.to_string()),
                holders.join(", "),
            ]
        }));
        table::lines(&rows)
    }

    /// Who is there.
    pub(super) fn members_table(&self, members: &[Member]) -> Vec<String> {
        let mut rows = vec![["rank", "name", "id", "role", "path", "rtt", "address"].map(str::to_owned).to_vec()];
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        rows.extend(members.iter().map(|member| {
            let me = if Some(member.id) == self.me { " (you)" } else { "" };
            vec![
                member.rank.to_string(),
                cut(&member.name, NAME_COLUMNS) + me,
                member.id.to_string(),
                match member.role {
                    Role::Supernode => "supernode".to_owned(),
                    Role::Member => "member".to_owned(),
                },
                or_dash(member.path.map(|path| how(path).to_owned())),
                or_dash(member.rtt_ms.map(units::milliseconds)),
                or_dash(member.addr.map(|address| address.to_string())),
            ]
        }));
        table::lines(&rows)
    }

    /// Why who leads, and who led before.
    pub(super) fn why(&self, ranking: &[RankExplained], history: &[Election]) -> Vec<String> {
        let mut rows = vec![["rank", "name", "id", "terms, in order of weight"].map(str::to_owned).to_vec()];
        rows.extend(ranking.iter().map(|member| {
            let terms = harmless(&member.terms.join(", ")).into_owned();
            vec![member.rank.to_string(), self.name(&member.id), member.id.to_string(), terms]
        }));
        let mut lines = table::lines(&rows);
        for election in history {
            let me = Some(election.supernode) == self.me;
            let after = units::seconds(election.at_ms / 1000);
            let who = if me { "you".to_owned() } else { self.name(&election.supernode) };
            lines.push(format!(
                "  after {after}: epoch {}, led by {who}: {}",
                election.epoch,
                because(election.reason, me)
            ));
        }
        lines
    }

    /// Why somebody is reached as it is.
    pub(super) fn why_path(&self, path: &PathExplained) -> String {
        let via = path.via.as_ref().map(|via| format!(" via {}", self.name(via))).unwrap_or_default();
        let why = path.why.as_ref().map(|why| format!(": {}", harmless(why))).unwrap_or_default();
        let (name, how, nat) = (self.name(&path.id), adverb(path.path), harmless(&path.nat));
        let PathExplained { probes, standby, .. } = path;
        format!("  {name} is reached {how}{via} ({probes} packets spent, {standby} standing by; {nat}){why}")
    }
}
