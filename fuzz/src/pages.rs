//! Page tokens that no page contained: each is refused by name, or it is a position in the list, from which the rest is
//! returned in order.
//!
//! An input is a byte for the list, one for the page size, one for the cycle, and the token.

use std::cell::OnceCell;

use tollgate::{
    domain::{plan::Plan, rate_card::RateCard, reservation::Trigger},
    gate::{
        GateError,
        calls::{Page, Paged},
    },
};

use super::{
    input::Input,
    world::{START_MS, World, id},
};

const DAY_MS: i64 = 86_400_000;

thread_local! {
    /// The world. No query changes it.
    static WORLD: OnceCell<World> = const { OnceCell::new() };
}

/// Checks one input.
pub fn check(input: &[u8]) {
    WORLD.with(|world| check_in(world.get_or_init(world_of_lists), input));
}

fn check_in(world: &World, input: &[u8]) {
    let mut input = Input(input);
    let (list, size, cycle) = (input.byte(), input.byte(), input.byte());
    let Ok(token) = std::str::from_utf8(input.0) else { return };
    let list = List {
        world,
        which: list % 7,
        at_ms: [None, Some(START_MS), Some(START_MS + 3 * DAY_MS)][usize::from(cycle % 3)],
    };
    let all = list.follow(1_000, String::new()).expect("the first page has no token");
    match list.follow(u32::from(size) % 9 + 1, token.to_owned()) {
        Ok(described) => assert!(all.ends_with(&described), "{token:?}: {described:#?} of {all:#?}"),
        Err(GateError::InvalidField { field, .. }) => assert_eq!(field, "page_token", "{token:?}"),
        Err(other) => panic!("{token:?}: {other:?}"),
    }
}

struct List<'a> {
    world: &'a World,
    which: u8,
    at_ms: Option<i64>,
}

impl List<'_> {
    /// Returns the rest of the list after a token.
    fn follow(&self, size: u32, token: String) -> Result<Vec<String>, GateError> {
        let (mut rows, mut token) = (Vec::new(), Some(token));
        let mut pages = 0;
        while let Some(next) = token {
            pages += 1;
            assert!(pages < 1_000, "the list has no end");
            let page = self.page(&Page { size, token: next })?;
            assert!(page.items.len() <= usize::try_from(size).unwrap());
            rows.extend(page.items);
            token = page.next;
        }
        Ok(rows)
    }

    fn page(&self, page: &Page) -> Result<Paged<String>, GateError> {
        let gate = &self.world.gate;
        let team = |name| if self.which.is_multiple_of(2) { id(name) } else { id("quiet") };
        self.world.wait_for(async {
            Ok(match self.which {
                0 | 1 => described(gate.usage(&team("busy"), self.at_ms, page).await?.rows),
                2 | 3 => described(gate.charges(Some(&team("busy")), self.at_ms, page).await?),
                4 => described(gate.charges(None, self.at_ms, page).await?),
                5 => described(gate.rate_cards(page).await?),
                _ => described(gate.teams(page).await?),
            })
        })
    }
}

fn described<T: std::fmt::Debug>(page: Paged<T>) -> Paged<String> {
    Paged { items: page.items.iter().map(|item| format!("{item:?}")).collect(), next: page.next }
}

/// Returns a world with two cycles of charges and usage of several teams, and some rate cards.
fn world_of_lists() -> World {
    let world = World::new();
    for team in ["also", "busy", "quiet"] {
        world.put_team(team, Plan::Professional, true, 100);
        world.wait_for(world.gate.set_overages(&id(team), true, None, "fuzz")).unwrap();
    }
    for cycle in 0..2 {
        for (number, (model, units)) in
            [("gpt-4", 90), ("dall-e-3", 2), ("gpt-3.5", 700), ("gpt-4o", 1)].into_iter().enumerate()
        {
            for team in ["also", "busy"] {
                let trigger = if number == 1 { Trigger::Test } else { Trigger::Run };
                let reservation = format!("r-{cycle}-{number}");
                world.reserve(team, &reservation, model, units, trigger);
                world.commit(team, &reservation);
            }
        }
        world.clock.advance_ms(3 * DAY_MS);
    }
    for number in 0..3_i64 {
        let effective_at_ms = START_MS + (20 + number) * DAY_MS;
        let card = RateCard { version: format!("card-{number}"), effective_at_ms, ..RateCard::shipped() };
        world.wait_for(world.gate.put_rate_card(card, "fuzz")).unwrap();
    }
    world
}

/// Returns the seeds: the tokens that pages contain.
pub fn seeds() -> Vec<Vec<u8>> {
    let world = world_of_lists();
    let mut seeds = Vec::new();
    for which in 0..7_u8 {
        for (cycle, at_ms) in [(0, None), (1, Some(START_MS))] {
            let list = List { world: &world, which, at_ms };
            let mut token = String::new();
            for _ in 0..3 {
                seeds.push([&[which, 1, cycle], token.as_bytes()].concat());
                match list.page(&Page { size: 2, token }).unwrap().next {
                    Some(next) => token = next,
                    None => break,
                }
            }
        }
    }
    seeds
}
