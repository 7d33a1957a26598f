//! Stories of catalogues that talk to each other without a network.

use super::*;
use crate::node::catalogue::CatalogueMessage;
use crate::node::catalogue::offer::{MAX_OFFERS, OfferFacts};
use crate::node::disk::{DiskReply, OfferNumber};
use crate::node::files::FileHash;
use crate::time::Duration;
use std::path::PathBuf;

/// Some members of one room, everybody linked to everybody, nothing lost unless said.
struct Room {
    catalogues: Vec<Catalogue>,
    now: Instant,
    events: Vec<Vec<Event>>,
    disk: Vec<DiskRequest>,
}

impl Room {
    fn new(members: u8, supernode: usize) -> Self {
        let catalogues: Vec<Catalogue> =
            (0..members).map(|seed| Catalogue::new(Arc::new(Identity::from_seed(&[seed + 1; 32])), 1000)).collect();
        let events = vec![Vec::new(); catalogues.len()];
        let mut room = Self { catalogues, now: Instant::ZERO, events, disk: Vec::new() };
        let ids = room.ids();
        for catalogue in &mut room.catalogues {
            ids.iter().for_each(|id| catalogue.handle_link_up(*id));
        }
        room.view(&(0..members as usize).collect::<Vec<_>>(), supernode);
        room.run();
        room
    }

    fn ids(&self) -> Vec<NodeId> {
        self.catalogues.iter().map(|catalogue| catalogue.identity.id()).collect()
    }

    fn view(&mut self, members: &[usize], supernode: usize) {
        let ids = self.ids();
        for &member in members {
            let there = members.iter().map(|index| ids[*index]);
            self.catalogues[member].handle_view(self.now, there, ids[supernode]);
        }
    }

    /// Until nobody has anything to say. How many messages that took.
    fn run(&mut self) -> usize {
        let (ids, mut messages) = (self.ids(), 0);
        loop {
            let mut quiet = true;
            for from in 0..ids.len() {
                while let Some((to, message)) = self.catalogues[from].poll_message(|_| true) {
                    let to = ids.iter().position(|id| *id == to).unwrap();
                    self.catalogues[to].handle_message(self.now, ids[from], message);
                    (quiet, messages) = (false, messages + 1);
                    assert!(messages < 10_000, "they never stop talking");
                }
                while let Some(output) = self.catalogues[from].poll_output() {
                    match output {
                        CatalogueOutput::Event(event) => self.events[from].push(event),
                        CatalogueOutput::Disk(request) => self.disk.push(request),
                    }
                }
            }
            if quiet {
                return messages;
            }
        }
    }

    fn offer(&mut self, owner: usize, name: &str, hash: u8) {
        let number = OfferNumber(self.catalogues[owner].mine.next);
        self.catalogues[owner].offer(PathBuf::from(name)).unwrap();
        self.catalogues[owner].handle_disk(DiskReply::Found { offer: number, name: name.into(), size: 10 });
        self.catalogues[owner].handle_disk(DiskReply::Hashed { offer: number, hash: FileHash([hash; 32]) });
    }

    fn names(&self, member: usize) -> Vec<String> {
        self.catalogues[member].files().into_iter().map(|file| file.name).collect()
    }
}

#[test]
fn what_one_offers_all_see_and_what_it_withdraws_is_gone() {
    let mut room = Room::new(4, 0);
    room.offer(2, "notes.txt", 7);
    room.run();
    for member in 0..4 {
        assert_eq!(room.names(member), ["notes.txt"]);
    }
    room.catalogues[2].withdraw("notes.txt").unwrap();
    room.run();
    for member in 0..4 {
        assert!(room.names(member).is_empty());
        assert!(matches!(room.events[member].last(), Some(Event::Withdrawn(_))));
    }
    assert_eq!(room.disk.last(), Some(&DiskRequest::Forget { offer: OfferNumber(0) }));
}

#[test]
fn the_same_content_from_two_is_one_listing_with_two_holders() {
    let mut room = Room::new(3, 0);
    room.offer(1, "a.txt", 7);
    room.offer(2, "b.txt", 7);
    room.run();
    let files = room.catalogues[0].files();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].holders.len(), 2);
    assert_eq!(room.catalogues[1].holders(&FileHash([7; 32]), 10).len(), 1, "we do not download from ourselves");
}

#[test]
fn a_name_with_two_contents_is_ambiguous_and_a_hash_is_not() {
    let mut room = Room::new(3, 0);
    room.offer(1, "a.txt", 7);
    room.offer(2, "a.txt", 8);
    room.run();
    let catalogue = &room.catalogues[0];
    assert_eq!(catalogue.find("a.txt").unwrap_err().code, ErrorCode::Ambiguous);
    assert_eq!(catalogue.find("07070707").unwrap().hash, FileHash([7; 32]));
    assert_eq!(catalogue.find(&"08".repeat(32)).unwrap().hash, FileHash([8; 32]));
    assert_eq!(catalogue.find("0707070").unwrap_err().code, ErrorCode::NotFound, "seven digits are no name");
    assert_eq!(catalogue.find("b.txt").unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn a_newcomer_learns_everything_and_shows_what_it_has() {
    let mut room = Room::new(4, 0);
    room.view(&[0, 1, 2], 0);
    room.view(&[3], 3);
    for number in 0..200 {
        room.offer(1, &format!("{number:03}"), number);
    }
    room.offer(3, "mine", 250);
    room.run();
    assert_eq!(room.names(3), ["mine"]);
    room.view(&[0, 1, 2, 3], 0);
    room.run();
    for member in 0..4 {
        assert_eq!(room.names(member).len(), 201, "member {member}");
    }
}

/// The supernode died between two members: what reached only some reaches all through the next one.
#[test]
fn what_was_lost_with_a_supernode_comes_back_through_the_next() {
    let mut room = Room::new(4, 0);
    room.offer(2, "lost.txt", 7);
    while room.catalogues[2].poll_message(|_| true).is_some() {} // sent to the dying one, passed on to nobody
    room.run();
    assert!(room.names(3).is_empty());
    room.view(&[1, 2, 3], 1);
    room.run();
    for member in 1..4 {
        assert_eq!(room.names(member), ["lost.txt"], "member {member}");
    }
    assert_eq!(room.run(), 0, "and then they are silent");
}

#[test]
fn whoever_leaves_takes_their_offers_along() {
    let mut room = Room::new(3, 0);
    room.offer(2, "a.txt", 7);
    room.run();
    room.view(&[0, 1], 0);
    room.run();
    assert!(room.names(1).is_empty());
    assert!(matches!(room.events[1].last(), Some(Event::Withdrawn(_))));
}

#[test]
fn a_stranger_is_not_listened_to_and_nobody_speaks_for_another() {
    let mut room = Room::new(2, 0);
    let mallory = Identity::from_seed(&[99; 32]);
    let owner = room.ids()[1];
    let content = Some(Content { name: "trap".into(), size: 1, hash: Some(FileHash([6; 32])) });
    let facts = OfferFacts { owner, start: u64::MAX, version: 1, slot: 0, content };
    let forged = CatalogueMessage::State { offers: vec![Offer::sign(&mallory, facts.clone())], digests: Vec::new() };
    room.catalogues[0].handle_message(room.now, owner, forged);
    assert!(room.names(0).is_empty(), "not signed by the owner");
    let own = OfferFacts { owner: mallory.id(), ..facts };
    let strange = CatalogueMessage::State { offers: vec![Offer::sign(&mallory, own)], digests: Vec::new() };
    room.catalogues[0].handle_message(room.now, mallory.id(), strange);
    assert!(room.names(0).is_empty(), "not from a member");
}

#[test]
fn offers_of_strangers_that_a_member_passes_on_are_forgotten_after_a_while() {
    let mut room = Room::new(2, 0);
    let mallory = Identity::from_seed(&[99; 32]);
    let content = Some(Content { name: "trap".into(), size: 1, hash: Some(FileHash([6; 32])) });
    let facts = OfferFacts { owner: mallory.id(), start: 1, version: 1, slot: 0, content };
    let state = CatalogueMessage::State { offers: vec![Offer::sign(&mallory, facts)], digests: Vec::new() };
    let member = room.ids()[1];
    room.catalogues[0].handle_message(room.now, member, state);
    assert!(room.names(0).is_empty());
    room.now = room.now + Duration::from_secs(31);
    room.view(&[0, 1], 0);
    assert!(!room.catalogues[0].shelves.contains_key(&mallory.id()));
}

#[test]
fn the_number_of_own_offers_is_capped() {
    let mut room = Room::new(1, 0);
    for number in 0..MAX_OFFERS {
        room.catalogues[0].offer(PathBuf::from(number.to_string())).unwrap();
    }
    let error = room.catalogues[0].offer(PathBuf::from("one more")).unwrap_err();
    assert_eq!(error.code, ErrorCode::TooLarge);
}

#[test]
fn the_same_file_twice_is_a_mistake_that_changes_nothing() {
    let mut room = Room::new(1, 0);
    room.offer(0, "a.txt", 7);
    assert_eq!(room.catalogues[0].offer(PathBuf::from("a.txt")).unwrap_err().code, ErrorCode::Exists);
    room.catalogues[0].offer(PathBuf::from("./a.txt")).unwrap();
    room.catalogues[0].handle_disk(DiskReply::Found { offer: OfferNumber(1), name: "a.txt".into(), size: 10 });
    room.run();
    assert!(matches!(room.events[0].last(), Some(Event::Error { code: ErrorCode::Exists, .. })));
    assert_eq!(room.names(0), ["a.txt"]);
}

fn shelf_of(owner: u64, start: u64, offers: u32) -> (NodeId, Vec<Offer>) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&owner.to_be_bytes());
    let identity = Identity::from_seed(&seed);
    let unsigned = |facts| Offer { facts, signature: crate::node::record::Signature([0; 64]) };
    let offer = |slot: u32| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&slot.to_be_bytes());
        hash[4..12].copy_from_slice(&owner.to_be_bytes());
        let content = Some(Content { name: format!("file {owner}-{slot}"), size: 1, hash: Some(FileHash(hash)) });
        let facts = OfferFacts { owner: identity.id(), start, version: u64::from(slot) + 1, slot, content };
        // Signing a hundred thousand takes a while, and is not what is asked here.
        if offers > 1 { unsigned(facts) } else { Offer::sign(&identity, facts) }
    };
    (identity.id(), (0..offers).map(offer).collect())
}

/// Eleven owners with ten thousand offers each: the last thousands find no room, and what is there is found at once.
#[test]
fn a_hundred_thousand_offers_are_kept_and_no_more_and_cost_no_search() {
    let own = Arc::new(Identity::from_seed(&[9; 32]));
    let mut catalogue = Catalogue::new(own.clone(), 1);
    let shelves: Vec<(NodeId, Vec<Offer>)> = (0..11).map(|owner| shelf_of(owner, 1, MAX_OFFERS)).collect();
    catalogue.handle_view(Instant::ZERO, shelves.iter().map(|(id, _)| *id).chain([own.id()]), own.id());
    for (owner, offers) in &shelves {
        for offer in offers {
            catalogue.take(Instant::ZERO, *owner, offer.clone());
        }
        while catalogue.poll_output().is_some() {}
    }
    assert_eq!(catalogue.shelves.values().map(Shelf::len).sum::<usize>(), MAX_ALL);
    assert_eq!(catalogue.find("file 3-9999").unwrap().holders, [shelves[3].0]);
    assert_eq!(catalogue.find("file 10-9999").unwrap_err().code, ErrorCode::NotFound);
    let hash = catalogue.find("file 4-77").unwrap().hash;
    // A search through everything would take minutes here.
    for _ in 0..100_000 {
        assert_eq!(catalogue.holders(&hash, 1), [shelves[4].0]);
    }
}

/// One member cannot fill the catalogue with offers of owners that it made up.
#[test]
fn offers_of_owners_that_nobody_knows_are_few() {
    let mut room = Room::new(2, 0);
    let from = room.ids()[1];
    for owner in 0..1200 {
        let (_, offers) = shelf_of(1000 + owner, 1, 1);
        let message = CatalogueMessage::State { offers, digests: Vec::new() };
        room.catalogues[0].handle_message(room.now, from, message);
    }
    assert_eq!(room.catalogues[0].shelves.len(), 2 + MAX_OF_STRANGERS);
    room.now = room.now + STRANGER_TIME;
    let (last, offers) = shelf_of(9999, 1, 1);
    let message = CatalogueMessage::State { offers, digests: Vec::new() };
    room.catalogues[0].handle_message(room.now, from, message);
    assert!(room.catalogues[0].shelves.contains_key(&last), "the others had their time");
}

/// The size is part of what verifies: whoever lists a known hash with another size must not spoil the download of it.
#[test]
fn a_known_hash_with_a_wrong_size_is_something_else() {
    let mut room = Room::new(4, 0);
    room.offer(1, "film", 7);
    room.offer(2, "film", 7);
    let number = OfferNumber(room.catalogues[3].mine.next);
    room.catalogues[3].offer(PathBuf::from("film")).unwrap();
    room.catalogues[3].handle_disk(DiskReply::Found { offer: number, name: "film".into(), size: 11 });
    room.catalogues[3].handle_disk(DiskReply::Hashed { offer: number, hash: FileHash([7; 32]) });
    room.run();
    let found = room.catalogues[0].find("film").unwrap();
    let ids = room.ids();
    assert_eq!((found.size, found.holders.len()), (10, 2));
    assert!(!room.catalogues[0].holders(&found.hash, 10).contains(&ids[3]));
    assert_eq!(room.catalogues[0].files().len(), 2, "both are listed");
}

/// A program that starts again, offers that change their hash, members that leave: nothing of them is found any more.
#[test]
fn what_is_found_follows_what_is_offered() {
    let mut room = Room::new(3, 0);
    room.offer(1, "film", 7);
    room.run();
    assert_eq!(room.catalogues[2].find("film").unwrap().hash, FileHash([7; 32]));
    room.catalogues[1].handle_disk(DiskReply::Hashed { offer: OfferNumber(0), hash: FileHash([8; 32]) });
    room.run();
    assert_eq!(room.catalogues[2].find("film").unwrap().hash, FileHash([8; 32]));
    assert!(room.catalogues[2].holders(&FileHash([7; 32]), 10).is_empty());
    room.view(&[0, 2], 0);
    room.run();
    assert_eq!(room.catalogues[2].find("film").unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(room.catalogues[2].index.contents().count(), 0);
}
