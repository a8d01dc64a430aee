//! A proposal's life: each edge of it, those refused by name, and that a journal gives the same proposals again.
#![allow(clippy::unwrap_used, missing_docs)]

use onemap_alerts::proposals::{MOST_DECIDED, MOST_OPEN, Proposals};
use onemap_model::{Act, Role, RuleStep, Scope, Timestamp, Verb};

/// Proposals beside the text that is in force of the one file `air`.
struct Room {
    book: Proposals,
    position: u64,
    in_force: Option<String>,
    journal: Vec<(u64, Act, Option<String>)>,
}

fn act(actor: &str, step: RuleStep) -> Act {
    Act {
        at: Timestamp::from_ms(1_000),
        by: Scope {
            actor: actor.to_owned(),
            role: Role::Integrator,
            division: None,
            departments: vec![],
        },
        verb: Verb::RuleProposal(Box::new(step)),
    }
}

impl Room {
    fn new() -> Self {
        Self {
            book: Proposals::default(),
            position: 0,
            in_force: Some("v1".to_owned()),
            journal: vec![],
        }
    }
    fn take(&mut self, actor: &str, step: RuleStep) -> Result<u64, &'static str> {
        self.position += 1;
        let (act, force) = (act(actor, step), self.in_force.clone());
        let in_force = |file: &str| force.clone().filter(|_| file == "air");
        let checked = self.book.check(&act, &in_force);
        let done = self.book.act(self.position, &act, &in_force);
        assert_eq!(checked, done, "what is looked at before is what is folded");
        self.journal.push((self.position, act, force.clone()));
        done.map(|()| self.position).map_err(|refused| {
            assert!(!refused.zh().is_empty() && !refused.to_string().is_empty());
            refused.code()
        })
    }
    fn propose(&mut self, actor: &str, name: &str, text: &str) -> Result<u64, &'static str> {
        let step = RuleStep::Propose {
            file: "air".to_owned(),
            text: text.to_owned(),
            before: self.in_force.clone(),
            name: name.to_owned(),
            note: String::new(),
        };
        self.take(actor, step)
    }
    fn approve(&mut self, actor: &str, name: &str, proposal: u64) -> Result<u64, &'static str> {
        let (name, note) = (name.to_owned(), String::new());
        self.take(actor, RuleStep::Approve { proposal, name, note })
    }
    fn reject(&mut self, actor: &str, proposal: u64, note: &str) -> Result<u64, &'static str> {
        let (name, note) = ("李".to_owned(), note.to_owned());
        self.take(actor, RuleStep::Reject { proposal, name, note })
    }
    fn withdraw(&mut self, actor: &str, name: &str, proposal: u64) -> Result<u64, &'static str> {
        let (name, note) = (name.to_owned(), String::new());
        self.take(actor, RuleStep::Withdraw { proposal, name, note })
    }
    /// The record by which a file is in force.
    fn rule(&mut self, text: &str) {
        self.position += 1;
        self.book.note_rule(self.position, "air", text);
        self.in_force = Some(text.to_owned()).filter(|text| !text.is_empty());
    }
    fn fate(&self, id: u64) -> &'static str {
        self.book.get(id).unwrap().fate.name()
    }
}

#[test]
fn a_second_person_is_another_token_and_another_name() {
    let table = [
        ("a", "王", Err("own_approval")),
        ("a", " 王 ", Err("own_approval")),
        ("b", "王", Err("own_approval")),
        ("a", "李", Err("shared_token")),
        ("b", " ", Err("no_name")),
        ("b", "李", Ok(())),
    ];
    for (actor, name, expected) in table {
        let mut room = Room::new();
        let id = room.propose("a", "王", "v2").unwrap();
        assert_eq!(
            room.approve(actor, name, id).map(drop),
            expected,
            "{actor} {name}"
        );
        let fate = if expected.is_ok() { "approved" } else { "open" };
        assert_eq!(room.fate(id), fate);
    }
}

#[test]
fn what_is_decided_is_decided_and_says_how() {
    type Decide = fn(&mut Room, u64) -> Result<u64, &'static str>;
    let ways: [(Decide, &str); 4] = [
        (|room, id| room.approve("b", "李", id), "proposal_approved"),
        (|room, id| room.reject("b", id, "太低"), "proposal_rejected"),
        (|room, id| room.withdraw("a", "王", id), "proposal_withdrawn"),
        (|room, _| room.propose("a", "王", "v3"), "proposal_superseded"),
    ];
    for (decide, code) in ways {
        let mut room = Room::new();
        let id = room.propose("a", "王", "v2").unwrap();
        decide(&mut room, id).unwrap();
        let again = [
            room.approve("c", "张", id),
            room.reject("c", id, "不"),
            room.withdraw("a", "王", id),
        ];
        assert_eq!(again, [Err(code); 3]);
    }
}

#[test]
fn a_proposal_says_something_and_a_refusal_why() {
    let mut room = Room::new();
    assert_eq!(room.propose("a", "王", "v1"), Err("unchanged"));
    assert_eq!(room.propose("a", "", "v2"), Err("no_name"));
    assert_eq!(room.propose("a", &"王".repeat(65), "v2"), Err("too_long"));
    assert_eq!(room.approve("b", "李", 99), Err("unknown_proposal"));
    let id = room.propose("a", "王", "v2").unwrap();
    assert_eq!(room.reject("b", id, " "), Err("no_reason"));
    assert_eq!(room.withdraw("b", "李", id), Err("not_proposer"));
    assert_eq!(room.withdraw("a", "李", id), Err("not_proposer"));
    room.in_force = None;
    assert_eq!(room.propose("a", "王", ""), Err("unknown_rules"));
}

#[test]
fn a_file_that_changed_meanwhile_is_proposed_anew() {
    let mut room = Room::new();
    let mine = room.propose("a", "王", "v2").unwrap();
    let theirs = room.propose("b", "李", "v3").unwrap();
    room.approve("c", "张", theirs).unwrap();
    room.rule("v3");
    assert_eq!(room.approve("c", "张", mine), Err("proposal_stale"));
    assert_eq!(room.fate(mine), "open");
    let anew = room.propose("a", "王", "v2").unwrap();
    assert_eq!(room.fate(mine), "superseded");
    room.approve("c", "张", anew).unwrap();
}

#[test]
fn an_approval_is_unfinished_until_its_file_or_another_is_taken_up() {
    for (text, taken_up) in [("v2", "taken up"), ("by hand", "overtaken")] {
        let mut room = Room::new();
        let id = room.propose("a", "王", "v2").unwrap();
        room.approve("b", "李", id).unwrap();
        let before = Proposals::restore(&room.book.snapshot()).unwrap();
        assert_eq!(before.unfinished().map(|one| one.id).collect::<Vec<_>>(), [id]);
        room.rule(text);
        assert!(room.book.unfinished().next().is_none(), "{taken_up}");
        // Later changes of the file say nothing of it.
        room.rule("v4");
        let known = format!("{:?}", room.book.get(id).unwrap().fate);
        let expected = if taken_up == "overtaken" {
            "taken_up: None, overtaken: true"
        } else {
            "taken_up: Some(3), overtaken: false"
        };
        assert!(known.contains(expected), "{known}");
    }
    let mut room = Room::new();
    let id = room.propose("a", "王", "").unwrap();
    room.approve("b", "李", id).unwrap();
    room.rule("");
    assert!(room.book.unfinished().next().is_none());
}

#[test]
fn what_waits_and_what_is_kept_is_bounded() {
    let mut room = Room::new();
    for n in 0..MOST_OPEN {
        room.propose(&format!("a{n}"), "王", "v2").unwrap();
    }
    assert_eq!(room.propose("b", "王", "v2"), Err("too_many_proposals"));
    // Who proposes anew takes no more room.
    room.propose("a0", "王", "v3").unwrap();
    let mut room = Room::new();
    for _ in 0..MOST_DECIDED + 10 {
        let id = room.propose("a", "王", "v2").unwrap();
        room.withdraw("a", "王", id).unwrap();
    }
    assert_eq!(room.book.newest_first().count(), MOST_DECIDED);
}

#[test]
fn the_same_journal_gives_the_same_proposals_and_a_snapshot_goes_on() {
    let mut room = Room::new();
    let one = room.propose("a", "王", "v2").unwrap();
    let other = room.propose("b", "李", "v3").unwrap();
    let _ = room.approve("a", "王", one);
    room.reject("c", other, "太低").unwrap();
    room.approve("c", "张", one).unwrap();
    for cut in 0..=room.journal.len() {
        let mut book = Proposals::default();
        for (n, (position, act, force)) in room.journal.iter().enumerate() {
            if n == cut {
                book = Proposals::restore(&book.snapshot()).unwrap();
            }
            // What was refused then is refused again.
            let _ = book.act(*position, act, &|_| force.clone());
        }
        assert_eq!(book.snapshot(), room.book.snapshot());
    }
}
