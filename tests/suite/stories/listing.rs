//! Lists in pages: every row, once and in order, for every page size.

use tollgate::proto::v1::{
    Basis::{Allotment, Overage},
    GetUsageRequest, ListChargesRequest, ListRateCardsRequest, ListTeamsRequest,
};

use super::stage::{Stage, TEAM, Verb as _, card, free, moment, professional, stories};

stories! {
    on any store:
    teams_are_listed_by_id,
    a_page_has_100_rows_by_default_and_at_most_1000,
    charges_are_listed_block_by_block,
    a_cycle_without_charges_lists_none,
    usage_is_counted_by_day_flow_model_and_trigger,
    rate_cards_are_listed_by_the_time_they_take_effect,
    a_foreign_page_token_is_refused,
}

/// Returns all rows of a list, read in pages of at most this size.
fn follow<T>(size: u32, mut page: impl FnMut(String) -> (Vec<T>, String)) -> Vec<T> {
    let (mut all, mut token) = (Vec::new(), String::new());
    for _ in 0..1_000 {
        let (rows, next) = page(token);
        assert!(rows.len() <= usize::try_from(size).unwrap(), "a page of {} rows", rows.len());
        all.extend(rows);
        if next.is_empty() {
            return all;
        }
        token = next;
    }
    panic!("the list has no end");
}

fn teams_are_listed_by_id() {
    let stage = Stage::without_team();
    let list = |size| {
        follow(size, |page_token| {
            let request = ListTeamsRequest { page_size: size, page_token };
            let answer = stage.wait_for(stage.accounts.clone().list_teams(request)).unwrap().into_inner();
            (answer.teams.into_iter().map(|team| team.team_id).collect(), answer.next_page_token)
        })
    };
    assert_eq!(list(1), [""; 0]);
    for team in ["zoo", "a", "m-2", "m-1", "Z"] {
        stage.put(free().of(team));
    }
    for size in [1, 2, 3, 5, 1_000] {
        assert_eq!(list(size), ["Z", "a", "m-1", "m-2", "zoo"], "in pages of {size}");
    }
}

fn a_page_has_100_rows_by_default_and_at_most_1000() {
    let stage = Stage::without_team();
    for number in 0..1_001 {
        stage.put(free().of(&format!("team-{number:04}")));
    }
    for (page_size, rows) in [(0, 100), (999, 999), (1_000, 1_000), (u32::MAX, 1_000)] {
        let request = ListTeamsRequest { page_size, page_token: String::new() };
        let answer = stage.wait_for(stage.accounts.clone().list_teams(request)).unwrap().into_inner();
        assert_eq!(answer.teams.len(), rows);
        assert!(!answer.next_page_token.is_empty());
    }
}

fn charges(stage: &Stage, team: Option<&str>, cycle: Option<&str>, size: u32) -> Vec<String> {
    follow(size, |page_token| {
        let request = ListChargesRequest {
            team_id: team.map(str::to_owned),
            cycle_start: cycle.map(moment),
            page_size: size,
            page_token,
        };
        let answer = stage.wait_for(stage.usage.clone().list_charges(request)).unwrap().into_inner();
        (answer.charges.into_iter().map(|charge| charge.charge_id).collect(), answer.next_page_token)
    })
}

/// Buys blocks: in June three by one commit and one by another, and in July two by one commit.
fn charged() -> Stage {
    let stage = Stage::set(professional().with_seat().including(0));
    stage.put(professional().with_seat().of("before").including(0));
    stage.put(free().of("zero"));
    stage.overages_on();
    stage.reserve("r1").units(120).proceeds(3_000, Overage);
    stage.commit("r1").charges(3_000);
    stage.reserve("r2").proceeds(25, Overage);
    stage.commit("r2").charges(25);
    stage.advance_to("2025-07-04T00:00:00Z");
    stage.reserve("r3").run("july").units(80).proceeds(2_000, Overage);
    stage.commit("r3").charges(2_000);
    stage
}

/// Each block has its own row, whether one commit or several bought the blocks.
fn charges_are_listed_block_by_block() {
    let stage = charged();
    let june = ["team/2025-06-01/1", "team/2025-06-01/2", "team/2025-06-01/3", "team/2025-06-01/4"];
    let july = ["team/2025-07-01/1", "team/2025-07-01/2"];
    let both = [&june[..], &july[..]].concat();
    for size in [1, 2, 3, 4, 5, 6, 7, 1_000] {
        for team in [Some(TEAM), None] {
            assert_eq!(charges(&stage, team, None, size), both, "in pages of {size}");
            assert_eq!(charges(&stage, team, Some("2025-06-20T00:00:00Z"), size), june);
            assert_eq!(charges(&stage, team, Some("2025-07-01T00:00:00Z"), size), july);
        }
        assert_eq!(charges(&stage, Some("before"), None, size), [""; 0]);
    }
}

fn a_cycle_without_charges_lists_none() {
    let stage = charged();
    stage.advance_to("2025-08-10T00:00:00Z");
    for team in [Some(TEAM), None] {
        assert_eq!(charges(&stage, team, Some("2025-08-10T00:00:00Z"), 10), [""; 0]);
        assert_eq!(charges(&stage, team, Some("2025-05-31T23:59:59Z"), 10), [""; 0]);
        assert_eq!(charges(&stage, team, Some("2025-07-31T23:59:59Z"), 10).len(), 2);
    }
}

fn usage_is_counted_by_day_flow_model_and_trigger() {
    let stage = Stage::set_at("2025-06-10T23:59:59Z", free());
    let used = |id, flow, model| {
        stage.reserve(id).flow(flow).run(flow).model(model).units(2).answer();
        stage.commit(id).answer();
    };
    used("r1", "a", "gpt-4o");
    used("r2", "a", "gpt-4o");
    used("r3", "b", "gpt-4o");
    used("r4", "b", "gpt-4");
    stage.reserve("t1").test().flow("a").model("gpt-4o").proceeds(2, Allotment);
    stage.commit("t1").charges(2);
    stage.reserve("late").flow("a").run("a").model("gpt-4o").proceeds(2, Allotment);
    stage.advance(1);
    stage.commit("late").charges(2);
    used("r5", "a", "gpt-4o");
    let list = |size| {
        let mut rows = follow(size, |page_token| {
            let team_id = TEAM.to_owned();
            let request = GetUsageRequest { team_id, page_size: size, page_token, ..GetUsageRequest::default() };
            let answer = stage.wait_for(stage.usage.clone().get_usage(request)).unwrap().into_inner();
            (answer.rows, answer.next_page_token)
        });
        rows.sort_by_key(|row| (row.day.clone(), row.flow_id.clone(), row.model.clone(), row.trigger));
        rows.iter()
            .map(|row| {
                let trigger = row.trigger().as_str_name();
                let (day, flow, model) = (&row.day, &row.flow_id, &row.model);
                format!("{day} {flow} {model} {trigger} {}/{}/{}", row.calls, row.units, row.credits)
            })
            .collect::<Vec<_>>()
    };
    for size in [1, 2, 3, 1_000] {
        let expected = [
            "2025-06-10 a gpt-4o TRIGGER_RUN 3/5/10",
            "2025-06-10 a gpt-4o TRIGGER_TEST 1/1/2",
            "2025-06-10 b gpt-4 TRIGGER_RUN 1/2/50",
            "2025-06-10 b gpt-4o TRIGGER_RUN 1/2/4",
            "2025-06-11 a gpt-4o TRIGGER_RUN 1/2/4",
        ];
        assert_eq!(list(size), expected, "in pages of {size}");
    }
    stage.balance().used(70);
}

fn rate_cards_are_listed_by_the_time_they_take_effect() {
    let stage = Stage::set(free());
    for (version, time) in [("z", "2025-07-01T00:00:00Z"), ("m", "2025-09-01T00:00:00Z"), ("a", "2025-08-01T00:00:00Z")]
    {
        stage.announce(card(version, time, &[("gpt-4", 1)])).unwrap();
    }
    for size in [1, 2, 3, 4, 1_000] {
        let versions = follow(size, |page_token| {
            let request = ListRateCardsRequest { page_size: size, page_token };
            let answer = stage.wait_for(stage.accounts.clone().list_rate_cards(request)).unwrap().into_inner();
            (answer.rate_cards.into_iter().map(|card| card.version).collect(), answer.next_page_token)
        });
        assert_eq!(versions, ["2025-01-22", "z", "a", "m"], "in pages of {size}");
    }
}

fn a_foreign_page_token_is_refused() {
    let stage = charged();
    for token in ["team||0|x", "team||0|(1", "team|1|0|", "|", "team", "other||0|", "team||0|1\r\n"] {
        let request = ListChargesRequest {
            team_id: Some(TEAM.to_owned()),
            page_token: token.replace("team", TEAM),
            ..ListChargesRequest::default()
        };
        let refused = stage.wait_for(stage.usage.clone().list_charges(request)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{token}: {refused}");
        assert!(refused.message().starts_with("page_token "), "{token}: {refused}");
    }
}
