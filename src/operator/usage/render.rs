//! A team's cycle as a person reads it: a bar of where its credits are, and what they were used for.

use super::{
    cycle::CycleUsage,
    shares::{Counts, Shares},
};
use crate::operator::{
    bar::{divided, small},
    changes::overages,
    moment::{milliseconds, shown, span},
    output::{Column, count, counted, drawn, styled, table, width},
};

/// What stands before each line of the bar and its legend.
const INDENT: &str = "  ";

/// How long the bar may be, whatever the terminal's width.
const BAR_CELLS: std::ops::RangeInclusive<usize> = 20..=100;

/// How long the bar of a share may be.
const SHARE_CELLS: usize = 20;

/// How many models and flows are told apart.
const MODELS_SHOWN: usize = 12;
const FLOWS_SHOWN: usize = 5;

/// A part of the bar.
struct Part {
    sign: char,
    name: &'static str,
    credits: i64,
    colour: console::Color,
    /// What it means, where the name does not say it.
    remark: &'static str,
}

/// The picture at a time, in Unix milliseconds.
pub(super) fn render(usage: &CycleUsage, now_ms: i64) -> String {
    let mut text = heading(usage, now_ms);
    text.push_str(&balance(usage));
    text.push_str(&remarks(usage));
    if usage.total.calls > 0 {
        let days = usage.days.by_name().collect::<Vec<_>>();
        text.push_str(&share_table("day", &days, Counts::default(), usage.total));
        for (name, shares, most) in [("model", &usage.models, MODELS_SHOWN), ("flow", &usage.flows, FLOWS_SHOWN)] {
            text.push_str(&largest(name, shares, most, usage.total));
        }
    }
    text
}

fn heading(usage: &CycleUsage, now_ms: i64) -> String {
    let balance = &usage.balance;
    let seat = if usage.team.paid_seat { "a paid seat" } else { "no seat" };
    let (start, end) = (shown(balance.cycle_start), shown(balance.cycle_end));
    let left = milliseconds(balance.cycle_end).map_or(0, |end_ms| end_ms - now_ms);
    let ends = if left > 0 { format!("ends in {}", span(left)) } else { "has ended".to_owned() };
    let team = styled(usage.team.team_id.as_str()).bold();
    format!("{team}: {}, {seat}\ncycle {start} to {end} (UTC), {ends}\n\n", balance.plan)
}

/// Within the allotment first, then what is past it.
fn parts(usage: &CycleUsage) -> [Part; 5] {
    use console::Color::{Cyan, Green, Magenta, Red, Yellow};
    let part = |sign, name, credits, colour, remark| Part { sign, name, credits, colour, remark };
    let balance = &usage.balance;
    [
        part('█', "used", balance.used, Cyan, ""),
        part('▒', "held", balance.held, Yellow, "by calls under way"),
        part('░', "remaining", balance.remaining, Green, ""),
        part('▓', "run completion", balance.run_completion, Magenta, "past the limit, by runs that were current"),
        part('▚', "above hold", balance.above_hold, Red, "used above what was held, and covered by nothing"),
    ]
}

/// The bar and its legend.
fn balance(usage: &CycleUsage) -> String {
    let allotment = usage.allotment();
    let parts = parts(usage);
    let cells = (width() - 2 * INDENT.len()).clamp(*BAR_CELLS.start(), *BAR_CELLS.end());
    let mut bar = String::new();
    for (part, cells) in parts.iter().zip(divided(&parts.each_ref().map(|part| part.credits), cells)) {
        if cells > 0 {
            let run: String = std::iter::repeat_n(part.sign, cells).collect();
            bar.push_str(&styled(run).fg(part.colour).to_string());
        }
    }
    let mut text = if bar.is_empty() { String::new() } else { format!("{INDENT}{bar}\n\n") };
    for part in &parts {
        let sign = styled(part.sign.to_string()).fg(part.colour);
        let share = percent(part.credits, allotment);
        let remark = if part.credits > 0 { part.remark } else { "" };
        let line = format!("{:<16}{:>17}  {share:>8}  {remark}", part.name, count(part.credits));
        text.push_str(&format!("{INDENT}{sign} {}\n", line.trim_end()));
    }
    let made_of = [("included", usage.balance.included), ("waived", usage.balance.waived)];
    let mut made_of: Vec<_> = made_of
        .iter()
        .filter(|(name, credits)| *credits > 0 || *name == "included")
        .map(|(name, credits)| format!("{} {name}", count(*credits)))
        .collect();
    if usage.balance.overage > 0 {
        made_of.push(format!("{} bought", count(usage.balance.overage)));
    }
    let line = format!("{:<16}{:>17}  {:>8}  {}", "allotment", count(allotment), "", made_of.join(" + "));
    text.push_str(&format!("{INDENT}  {line}\n\n"));
    text
}

/// Overages, and the next rate card.
fn remarks(usage: &CycleUsage) -> String {
    let switch = overages(usage.balance.overages_enabled, usage.team.overage_cap_blocks);
    let bought = match usage.blocks() {
        0 => String::new(),
        blocks => format!("; {} bought in this cycle", counted(blocks, "block", "blocks")),
    };
    let next = match usage.balance.next_rate_card.as_str() {
        "" => "none is announced",
        version => version,
    };
    let mut text = format!("overages: {switch}{bought}\nnext rate card: {next}\n");
    if usage.tests.calls > 0 {
        let share = percent(usage.tests.credits, usage.total.credits);
        let (calls, credits) = (counted(usage.tests.calls, "call", "calls"), count(usage.tests.credits));
        text.push_str(&format!("tests of prompts: {calls}, {credits} credits ({share} of what was committed)\n"));
    }
    if usage.total.calls == 0 { text + "nothing was committed in this cycle\n" } else { text }
}

fn largest(name: &'static str, shares: &Shares, most: usize, total: Counts) -> String {
    let (largest, others) = shares.largest(most);
    share_table(name, &largest, others, total)
}

fn share_table(name: &'static str, shares: &[(&str, Counts)], others: Counts, total: Counts) -> String {
    let columns = [
        Column::Text(name),
        Column::Number("calls"),
        Column::Number("units"),
        Column::Number("credits"),
        Column::Number("share"),
        Column::Text(""),
    ];
    let mut table = table(&columns);
    let mut row = |name: &str, counts: Counts| {
        table.add_row(vec![
            name.to_owned(),
            count(counts.calls),
            count(counts.units),
            count(counts.credits),
            percent(counts.credits, total.credits),
            small(counts.credits, total.credits, SHARE_CELLS),
        ]);
    };
    for (name, counts) in shares {
        row(name, *counts);
    }
    if others.calls > 0 {
        row("all others", others);
    }
    format!("\n{}", drawn(&table))
}

/// Of nothing there are no shares.
fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "–".to_owned();
    }
    let tenths = (i128::from(part) * 2_000 + i128::from(whole)) / (i128::from(whole) * 2);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        operator::moment::parse,
        proto::v1::{Balance, Team, Trigger, UsageRow},
    };

    fn usage() -> CycleUsage {
        let team = Team { team_id: "team".to_owned(), paid_seat: true, ..Team::default() };
        let balance = Balance {
            plan: "professional".to_owned(),
            cycle_start: parse("2026-11-01").ok(),
            cycle_end: parse("2026-12-01").ok(),
            included: 900,
            waived: 100,
            overage: 2_000,
            used: 1_500,
            run_completion: 30,
            held: 600,
            remaining: 900,
            overages_enabled: true,
            next_rate_card: "2027".to_owned(),
            ..Balance::default()
        };
        let mut usage = CycleUsage::new(team, balance);
        let row = |model: &str, trigger: Trigger, credits| UsageRow {
            day: "2026-11-02".to_owned(),
            flow_id: "flow".to_owned(),
            model: model.to_owned(),
            trigger: trigger.into(),
            calls: 1,
            units: 1,
            credits,
        };
        usage.count(vec![row("gpt-4", Trigger::Run, 1_000), row("gpt-4o", Trigger::Test, 530)]);
        usage
    }

    fn now_ms() -> i64 {
        milliseconds(parse("2026-11-22T21:00:00Z").ok()).unwrap()
    }

    #[test]
    fn the_bar_is_divided_as_the_credits_are_and_as_wide_as_a_line() {
        let picture = render(&usage(), now_ms());
        let bar = picture.lines().nth(3).unwrap().trim_start();
        let cells = |sign| bar.chars().filter(|other| *other == sign).count();
        assert_eq!(bar.chars().count(), 76, "{picture}");
        assert_eq!((cells('█'), cells('▒'), cells('▓'), cells('▚')), (37, 15, 1, 0), "{picture}");
    }

    #[test]
    fn everything_is_told_against_the_allotment() {
        let picture = render(&usage(), now_ms());
        for line in [
            "team: professional, a paid seat",
            "cycle 2026-11-01 to 2026-12-01 (UTC), ends in 8 days 3 h",
            "  █ used                        1,500    50.0 %",
            "  ▒ held                          600    20.0 %  by calls under way",
            "  ░ remaining                     900    30.0 %",
            "  ▓ run completion                 30     1.0 %  past the limit, by runs that were current",
            "  ▚ above hold                      0     0.0 %",
            "    allotment                   3,000            900 included + 100 waived + 2,000 bought",
            "overages: on; 2 blocks bought in this cycle",
            "next rate card: 2027",
            "tests of prompts: 1 call, 530 credits (34.6 % of what was committed)",
        ] {
            assert!(picture.lines().any(|other| other == line), "{line}\n{picture}");
        }
        assert!(picture.contains("│ gpt-4  ┆     1 ┆     1 ┆   1,000 ┆ 65.4 % ┆ █████████████"), "{picture}");
    }

    #[test]
    fn a_cycle_in_which_nothing_is_there_has_no_bar() {
        let usage =
            CycleUsage::new(Team::default(), Balance { cycle_end: parse("2026-11-01").ok(), ..Balance::default() });
        let picture = render(&usage, now_ms());
        assert!(picture.contains("has ended") && picture.contains("nothing was committed"), "{picture}");
        assert!(!picture.contains("0.0 %") && !picture.contains('┌'), "{picture}");
    }
}
