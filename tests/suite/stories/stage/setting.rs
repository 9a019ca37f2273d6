//! Setting of a story: which store it uses, and whether its calls are written through or answered from leases. Each story is the
//! same in all settings. Where leases change a result by design, the checks of the story allow for it.

use std::cell::RefCell;

use tollgate::{escrow::EscrowOptions, store::StoreLocation};

use super::super::super::support::{
    self, Leasing,
    servers::{Engine, Server},
};

/// Maximum number of stages in one story. Each stage has its own database.
const DATABASES: u32 = 64;

/// Store of a stage that does not name one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    InMemory,
    OnRedis,
}

/// Whether calls are written through or answered from leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    WrittenThrough,
    FromLeases,
}

struct Setting {
    answers: Answers,
    /// Server, and the number of stages that used it.
    server: Option<(Server, u32)>,
}

thread_local! {
    static SETTING: RefCell<Option<Setting>> = const { RefCell::new(None) };
}

/// Ends the setting and its server when it is dropped, also if the story fails.
struct SettingGuard;

impl Drop for SettingGuard {
    fn drop(&mut self) {
        SETTING.take();
    }
}

/// Plays a story in a setting.
pub(crate) fn play(place: Place, answers: Answers, story: fn()) {
    let databases = DATABASES.to_string();
    let settings = ["--appendonly", "no", "--databases", &databases];
    let server = (place == Place::OnRedis).then(|| (Server::start_with(Engine::Redis, &settings), 0));
    SETTING.set(Some(Setting { answers, server }));
    let _guard = SettingGuard;
    story();
}

/// Whether leases answer the calls of this story.
pub(crate) fn is_from_leases() -> bool {
    SETTING.with_borrow(|setting| setting.as_ref().is_some_and(|setting| setting.answers == Answers::FromLeases))
}

/// Returns the location of an empty store of the setting's kind.
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

/// Defines a test of each story for each setting. Stories with their own stores are played only with and without leases.
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
