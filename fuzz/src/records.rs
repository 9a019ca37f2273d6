//! Records of a store: any text is refused, or read as something that is written back unchanged. Nothing computed from
//! it overflows.
//!
//! An input is a byte for the kind of record, and the text. A record with fields has one line for each, as
//! `name=value`.

use tollgate::{
    domain::{
        account::Account,
        catalogue::VersionedCatalogue,
        charge::ChargeEntry,
        commit::{CommitAssumptions, commit},
        expire::expire,
        extend::{extend, record},
        hold::Hold,
        id::Id,
        plan::Plan,
        policy::Policy,
        release::release,
        reservation::{
            Backing, Charged, MAX_GRANT_BYTES, Reservation, leased_id, read_grant, read_leased, write_leased,
        },
        run::Run,
        terms::Terms,
        usage::{UsageCounts, UsageKey},
    },
    transaction::{FieldMap, NUMBER_LIMIT, Value},
};

/// Times at the ends of the range that a store can report.
const MOMENTS: [i64; 4] = [1 - NUMBER_LIMIT, 0, super::world::START_MS, NUMBER_LIMIT - 1];

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    if kind % 10 == 9 {
        return grant_from_a_lease(text);
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    match kind % 10 {
        0 => reservation(text),
        1 => hold(text),
        2 => usage_row(text),
        3 => account(&fields(text)),
        4 => terms(&fields(text)),
        5 => charge(&fields(text)),
        6 => catalogue(&fields(text)),
        7 => drop((Run::from_fields(&fields(text)), UsageCounts::from_fields(&fields(text)))),
        _ => an_id(text),
    }
}

fn reservation(text: &str) {
    let Ok(reservation) = Reservation::unpack(text) else { return };
    assert_eq!(reservation.packed(), text);
    assert!(reservation.terms.credits >= 0);
    for now_ms in MOMENTS {
        reservation.is_forgotten(now_ms, &Policy::default());
        let then = reservation.clone().at(now_ms);
        assert_eq!(Reservation::unpack(&then.packed()).unwrap(), then);
    }
    let member = reservation.hold_member(&Id::parse("r").unwrap());
    assert_eq!(Hold::from_entry(reservation.expires_at_ms, &member).unwrap().member(), member);
}

/// Checks a grant from a lease. It is not a record, but it comes from outside as well.
fn grant_from_a_lease(grant: &[u8]) {
    let Some((id, held)) = read_leased(grant) else { return };
    assert_eq!(leased_id(grant), Some(id.as_str()));
    assert_eq!(read_grant(grant, &id), Some(held.clone()));
    let Backing::Lease { id: lease, reclaimed: false, replaces: None } = &held.backing else {
        panic!("{held:?} is backed by no lease")
    };
    let mut written = [0; MAX_GRANT_BYTES];
    let length = write_leased(&id, lease, &held.reservation, &mut written).unwrap();
    assert_eq!(read_leased(&written[..length]), Some((id.clone(), held.clone())));
    assert!(held.reservation.terms.credits >= 0);
    let policy = Policy::default();
    let charged = Charged { credits: 5, units: 1, model: held.reservation.content.model.clone(), late: false };
    commit(&id, &id, &held, &charged, CommitAssumptions::default(), &policy);
    expire(&id, &id, &held, &policy);
    release(&id, &id, &held, &policy);
    extend(&id, &id, &held, 3_600_000);
    record(&id, &id, &held);
}

fn hold(text: &str) {
    if let Ok(hold) = Hold::from_entry(1, text) {
        assert_eq!(hold.member(), text);
        assert!(hold.credits >= 0);
    }
}

fn usage_row(text: &str) {
    if let Ok(key) = UsageKey::from_member(text) {
        assert_eq!(key.member(), text);
    }
}

fn an_id(text: &str) {
    let of_alphabet = |sign: char| sign.is_ascii_alphanumeric() || ['.', '_', ':', '-'].contains(&sign);
    let is_one = (1..=128).contains(&text.chars().count()) && text.chars().all(of_alphabet);
    assert_eq!(Id::parse(text).ok().map(|id| id.to_string()), is_one.then(|| text.to_owned()));
}

fn account(fields: &FieldMap) {
    let Ok(account) = Account::from_fields(fields) else { return };
    let written = account.fields().into_iter().map(|(name, value)| (name, kept(value))).collect::<FieldMap>();
    assert_eq!(Account::from_fields(&written).unwrap(), account);
    assert!(account.remaining() >= 0);
    account.bound();
    account.shortfall(10_000_000_000);
}

fn terms(fields: &FieldMap) {
    let Ok(terms) = Terms::from_fields(fields) else { return };
    for at_ms in MOMENTS {
        let cycle = terms.anchor.cycle_at(at_ms);
        terms.anchor.changed(31, at_ms).cycle_at(cycle.end_ms);
    }
    terms.stored_cap_blocks();
}

fn charge(fields: &FieldMap) {
    let Ok(entry) = ChargeEntry::from_fields(fields) else { return };
    let team = Id::parse("team").unwrap();
    for charge in entry.charges(&team, super::world::START_MS).take(3) {
        assert!(charge.block >= entry.first_block);
        charge.id();
    }
}

fn catalogue(fields: &FieldMap) {
    let Ok(read) = VersionedCatalogue::from_fields(fields, super::world::START_MS) else { return };
    for at_ms in MOMENTS {
        let Some(in_effect) = read.card_in_effect(at_ms) else { continue };
        assert!(in_effect.card.effective_at_ms <= at_ms);
        for rate in &in_effect.card.rates {
            assert!(rate.price(Plan::Free, 10_000) < NUMBER_LIMIT);
        }
    }
    assert!(Plan::ALL.into_iter().all(|plan| read.catalogue.included_credits.of(plan, true) < NUMBER_LIMIT));
}

fn fields(text: &str) -> FieldMap {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

/// Returns a value as a store keeps it, for a record that refers to no other field.
fn kept(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Greatest(linears) => linears.iter().map(|linear| linear.constant).max().unwrap().to_string(),
    }
}

/// Returns the grant of a reservation that was opened from a lease and would have that record.
pub(super) fn leased(id: &str, record: &str) -> Vec<u8> {
    let [id, lease] = [id, "lease.7"].map(|text| Id::parse(text).unwrap());
    let mut grant = vec![0; MAX_GRANT_BYTES];
    let length = write_leased(&id, &lease, &Reservation::unpack(record).unwrap(), &mut grant).unwrap();
    grant.truncate(length);
    grant
}

/// Returns the seeds.
pub fn seeds() -> Vec<Vec<u8>> {
    let open = "open|25|allotment|1769817600000|1772236800000|2025-01-22|professional|flow|run|block|gpt-4|1|run|\
                1769810400000|1769810520000";
    let of_form = |text: &str| format!("1|{text}");
    let committed = open.replace("open", "committed") + "|50|2|gpt-4|1|1769810530000";
    let account = "start=1769817600000\nend=1772236800000\nincluded=1000\nwaived=0\nblocks=2\nused=2500\nrun_completion=0\n\
                   above_hold=5\nheld=25\nleased=0\noverages_enabled=1\ncap_blocks=4294967296\n";
    let terms = "version=1\nplan=professional\npaid_seat=1\nanchor_day=31\nanchor_from=0\nprevious_anchor_day=31\n\
                 previous_anchor_from=0\nincluded_override=-1\noverages_enabled=0\noverage_cap_blocks=4294967296\n\
                 created_at=1769810400000\nupdated_at=1769810400000\n";
    let catalogue = r#"{"included_credits":{"without_seat":500,"free":5000,"basic":25000,"professional":100000},"rate_cards":[{"version":"c","effective_at_ms":0,"rates":[{"model":"m","aliases":["a"],"unit":"image","credits":5,"credits_by_plan":{"free":10}}]}]}"#;
    let run = "flow=f\nstarted_at=1\nended_at=0\nended_credits=0\ncredits=1\ncompletion=0\ncalls=1\nunits=2\n";
    let texts = [
        (0, of_form(open)),
        (0, of_form(&committed)),
        (0, of_form(&(open.replace("open", "released").replace("|run|block|", "|||") + "|1769810530000"))),
        (1, "reservation|1769817600000|25".to_owned()),
        (1, "lease.7|1769817600000|2500|lease".to_owned()),
        (2, "2026-01-30,flow,gpt-4,run".to_owned()),
        (3, account.to_owned()),
        (4, terms.to_owned()),
        (5, "first_block=1\nblocks=3\nat=1769810400000\n".to_owned()),
        (6, format!("version=1\nbody={catalogue}\n")),
        (7, run.to_owned()),
        (8, "Zz09._:-".to_owned()),
    ];
    let texts = texts.into_iter().map(|(kind, text)| [&[kind], text.as_bytes()].concat());
    texts.chain([[&[9], &leased("reservation", &of_form(open))[..]].concat()]).collect()
}
