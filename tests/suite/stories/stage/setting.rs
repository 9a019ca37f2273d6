//! Where a story plays: on which store, and whether its calls are written through or answered from leases. Each story is the same
//! on all of them, but for what a lease changes by design, which the story's own words allow for.

use std::cell::RefCell;

use tollgate::{escrow::EscrowOptions, store::StoreLocation};

use super::super::super::support::{
    self, Leasing,
    servers::{Engine, Server},
};

/// So many stages has one story at most; each has a database of its own.
const DATABASES: u32 = 64;

/// Which store a stage has that names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    InMemory,
    OnRedis,
}

/// Whether calls are written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    WrittenThrough,
    FromLeases,
}

struct Setting {
    answers: Answers,
    /// The server, and how many stages it had.
    server: Option<(Server, u32)>,
}

thread_local! {
    static SETTING: RefCell<Option<Setting>> = const { RefCell::new(None) };
}

/// Ends the setting, and its server, also if the story fails.
struct Curtain;

impl Drop for Curtain {
    fn drop(&mut self) {
        SETTING.take();
    }
}

/// Plays a story there.
pub(crate) fn play(place: Place, answers: Answers, story: fn()) {
    let databases = DATABASES.to_string();
    let settings = ["--appendonly", "no", "--databases", &databases];
    let server = (place == Place::OnRedis).then(|| (Server::start_with(Engine::Redis, &settings), 0));
    SETTING.set(Some(Setting { answers, server }));
    let _curtain = Curtain;
    story();
}

/// Whether this story's calls are answered from leases.
pub(crate) fn is_from_leases() -> bool {
    SETTING.with_borrow(|setting| setting.as_ref().is_some_and(|setting| setting.answers == Answers::FromLeases))
}

/// An empty store of the kind that the story plays on.
pub(super) fn store() -> StoreLocation {
    SETTING.with_borrow_mut(|setting| {
        let Some((server, stages)) = setting.as_mut().and_then(|setting| setting.server.as_mut()) else {
            return StoreLocation::Memory;
        };
        let StoreLocation::Redis(url) = server.location() else { panic!("a server is on Redis") };
        let database = *stages;
        *stages += 1;
        StoreLocation::Redis(format!("{url}?db={database}"))
    })
}

pub(super) fn escrow() -> EscrowOptions {
    support::escrow(if is_from_leases() { Leasing::AtOnce } else { Leasing::Off })
}

/// Makes a test of each story for each setting: of those that play on any store, and of those that have stores of their own.
macro_rules! stories {
    (on any store: $($story:ident),* $(,)?) => {
        stories!(@ in_memory, InMemory, WrittenThrough, [$($story)*]);
        stories!(@ in_memory_from_leases, InMemory, FromLeases, [$($story)*]);
        stories!(@ on_redis_from_leases, OnRedis, FromLeases, [$($story)*]);
    };
    (on stores of their own: $($story:ident),* $(,)?) => {
        stories!(@ written_through, InMemory, WrittenThrough, [$($story)*]);
        stories!(@ from_leases, InMemory, FromLeases, [$($story)*]);
    };
    (@ $setting:ident, $place:ident, $answers:ident, [$($story:ident)*]) => {
        mod $setting {
            use super::super::stage::{Answers, Place, play};
            $(
                #[test]
                fn $story() {
                    play(Place::$place, Answers::$answers, super::$story);
                }
            )*
        }
    };
}

pub(crate) use stories;
