//! Grants that were never given: whatever a client sends with a reservation's ID, the answer and the books are the same
//! as without a grant.
//!
//! An input is a byte for the operation, a byte for the reservation, and the grant.

use bytes::Bytes;
use tollgate::{
    domain::{id::Id, plan::Plan, reservation::Trigger},
    gate::calls::{ActualUse, Page, ReserveDecision},
};

use super::{
    input::Input,
    records::leased,
    world::{World, id, settle},
};

/// Reservations and their teams, in every state and on every basis.
const RESERVATIONS: [(&str, &str); 9] = [
    ("overage", "open"),
    ("overage", "test"),
    ("overage", "committed"),
    ("overage", "released"),
    ("overage", "expired"),
    ("overage", "above"),
    ("seat", "completes"),
    ("seat", "within"),
    ("seat", "missing"),
];

/// Checks one input.
pub fn check(input: &[u8]) {
    let mut input = Input(input);
    let (operation, place) = (input.byte(), usize::from(input.byte()));
    let (team, reservation) = RESERVATIONS[place % RESERVATIONS.len()];
    let with = answered(operation, team, reservation, Bytes::copy_from_slice(input.0));
    let without = answered(operation, team, reservation, Bytes::new());
    assert_eq!(with, without, "{operation} of {reservation} with {:?}", String::from_utf8_lossy(input.0));
}

/// Returns the answer of an operation, and everything that is visible of the team afterwards.
fn answered(operation: u8, team: &str, reservation: &str, grant: Bytes) -> (String, String) {
    let world = world();
    let call = tollgate::gate::calls::SettleCall { grant, ..settle(team, reservation) };
    let actual = |units, model: Option<&str>| ActualUse { units, model: model.map(id) };
    let answer = world.wait_for(async {
        match operation % 6 {
            0 => format!("{:?}", world.gate.commit(call, actual(None, None)).await),
            1 => format!("{:?}", world.gate.commit(call, actual(Some(60), None)).await),
            2 => format!("{:?}", world.gate.commit(call, actual(Some(0), Some("gpt-3.5"))).await),
            3 => format!("{:?}", world.gate.commit(call, actual(Some(10_000), Some("dall-e-3"))).await),
            4 => format!("{:?}", world.gate.release(call).await),
            _ => format!("{:?}", world.gate.extend(call, 3_600_000).await),
        }
    });
    world.check_books();
    let page = Page { size: 100, token: String::new() };
    let team: Id = id(team);
    let usage = world.wait_for(world.gate.usage(&team, None, &page)).unwrap();
    let charges = world.wait_for(world.gate.charges(Some(&team), None, &page)).unwrap();
    let state = world.wait_for(world.gate.reservation(&team, &id(reservation))).ok();
    (answer, format!("{usage:?} {charges:?} {state:?}"))
}

fn world() -> World {
    let world = World::new();
    world.put_team("overage", Plan::Professional, true, 1_000);
    world.wait_for(world.gate.set_overages(&id("overage"), true, Some(3), "fuzz")).unwrap();
    world.put_team("seat", Plan::Basic, true, 60);
    world.reserve("overage", "expired", "gpt-4", 1, Trigger::Run);
    world.clock.advance_ms(121_000);
    for reservation in ["committed", "released"] {
        world.reserve("overage", reservation, "gpt-4", 2, Trigger::Run);
    }
    world.commit("overage", "committed");
    world.wait_for(world.gate.release(settle("overage", "released"))).unwrap();
    world.reserve("overage", "open", "gpt-4", 1, Trigger::Run);
    world.reserve("overage", "test", "dall-e-3", 3, Trigger::Test);
    world.reserve("overage", "above", "gpt-4", 50, Trigger::Run);
    world.reserve("seat", "within", "gpt-4", 2, Trigger::Run);
    world.reserve("seat", "completes", "gpt-4", 1, Trigger::Run);
    world
}

/// Returns the seeds: each operation with the reservation's own grant, with another one's, and with a grant of a lease
/// that never existed.
pub fn seeds() -> Vec<Vec<u8>> {
    let world = world();
    let mut grants = Vec::new();
    for ((team, reservation), (model, units, trigger)) in [
        (RESERVATIONS[0], ("gpt-4", 1, Trigger::Run)),
        (RESERVATIONS[1], ("dall-e-3", 3, Trigger::Test)),
        (RESERVATIONS[5], ("gpt-4", 50, Trigger::Run)),
        (RESERVATIONS[6], ("gpt-4", 1, Trigger::Run)),
    ] {
        let ReserveDecision::Proceed(proceed) = world.reserve(team, reservation, model, units, trigger).decision else {
            panic!("{reservation} is open")
        };
        grants.push(proceed.grant);
    }
    let places = [0, 1, 2, 3, 4, 5, 6, 7, 8_u8];
    let inputs = places.into_iter().zip(grants.iter().cycle());
    let of_records = inputs.map(|(place, grant)| [&[place, place][..], grant].concat());
    let record = std::str::from_utf8(&grants[0]).unwrap();
    let of_leases = places.map(|place| {
        let (_, reservation) = RESERVATIONS[usize::from(place)];
        [&[place, place][..], &leased(reservation, record)].concat()
    });
    of_records.chain(of_leases).collect()
}
