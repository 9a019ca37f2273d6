//! The usage of a cycle as text: a bar of the credits, a legend, and tables by day, model and flow.

use super::{
    cycle::CycleUsage,
    shares::{Counts, Shares},
};
use crate::operator::{
    bar::{bar, divide},
    changes::overages,
    output::{Column, format_count, format_number, render_table, styled, table, width},
    timestamp::{display, human_duration, unix_ms},
};

/// Indent of the bar and its legend.
const INDENT: &str = "  ";

/// Minimum and maximum length of the bar, in characters.
const BAR_CELLS: std::ops::RangeInclusive<usize> = 20..=100;

/// Length of the bar for a share of 100 %, in characters.
const SHARE_CELLS: usize = 20;

/// Maximum number of models in the table. The others are summed up.
const MAX_MODELS: usize = 12;

/// Maximum number of flows in the table. The others are summed up.
const MAX_FLOWS: usize = 5;

/// One part of the bar and its line in the legend.
struct Part {
    symbol: char,
    name: &'static str,
    credits: i64,
    colour: console::Color,
    /// Explains the name, if it needs an explanation.
    remark: &'static str,
}

/// Renders the usage. `now_ms` is the current time in Unix milliseconds.
pub(super) fn render(usage: &CycleUsage, now_ms: i64) -> String {
    let mut text = heading(usage, now_ms);
    text.push_str(&balance(usage));
    text.push_str(&remarks(usage));
    if usage.total.calls > 0 {
        let days = usage.days.by_name().collect::<Vec<_>>();
        text.push_str(&share_table("day", &days, Counts::default(), usage.total));
        for (name, shares, most) in [("model", &usage.models, MAX_MODELS), ("flow", &usage.flows, MAX_FLOWS)] {
            text.push_str(&largest(name, shares, most, usage.total));
        }
    }
    text
}

fn heading(usage: &CycleUsage, now_ms: i64) -> String {
    let balance = &usage.balance;
    let seat = if usage.team.paid_seat { "a paid seat" } else { "no seat" };
    let (start, end) = (display(balance.cycle_start), display(balance.cycle_end));
    let left = unix_ms(balance.cycle_end).map_or(0, |end_ms| end_ms - now_ms);
    let ends = if left > 0 { format!("ends in {}", human_duration(left)) } else { "has ended".to_owned() };
    let team = styled(usage.team.team_id.as_str()).bold();
    format!("{team}: {}, {seat}\ncycle {start} to {end} (UTC), {ends}\n\n", balance.plan)
}

/// Returns the parts of the bar: first those within the allotment, then those past it.
fn parts(usage: &CycleUsage) -> [Part; 5] {
    use console::Color::{Cyan, Green, Magenta, Red, Yellow};
    let part = |symbol, name, credits, colour, remark| Part { symbol, name, credits, colour, remark };
    let balance = &usage.balance;
    [
        part('█', "used", balance.used, Cyan, ""),
        part('▒', "held", balance.held, Yellow, "by calls in flight"),
        part('░', "remaining", balance.remaining, Green, ""),
        part('▓', "run completion", balance.run_completion, Magenta, "past the limit, by runs that were current"),
        part('▚', "above hold", balance.above_hold, Red, "exceeded the hold, and not covered by the allotment"),
    ]
}

/// Renders the bar and its legend.
fn balance(usage: &CycleUsage) -> String {
    let allotment = usage.allotment();
    let parts = parts(usage);
    let cells = (width() - 2 * INDENT.len()).clamp(*BAR_CELLS.start(), *BAR_CELLS.end());
    let mut bar = String::new();
    for (part, cells) in parts.iter().zip(divide(&parts.each_ref().map(|part| part.credits), cells)) {
        if cells > 0 {
            let run: String = std::iter::repeat_n(part.symbol, cells).collect();
            bar.push_str(&styled(run).fg(part.colour).to_string());
        }
    }
    let mut text = if bar.is_empty() { String::new() } else { format!("{INDENT}{bar}\n\n") };
    for part in &parts {
        let symbol = styled(part.symbol.to_string()).fg(part.colour);
        let share = percent(part.credits, allotment);
        let remark = if part.credits > 0 { part.remark } else { "" };
        let line = format!("{:<16}{:>17}  {share:>8}  {remark}", part.name, format_number(part.credits));
        text.push_str(&format!("{INDENT}{symbol} {}\n", line.trim_end()));
    }
    let made_of = [("included", usage.balance.included), ("waived", usage.balance.waived)];
    let mut made_of: Vec<_> = made_of
        .iter()
        .filter(|(name, credits)| *credits > 0 || *name == "included")
        .map(|(name, credits)| format!("{} {name}", format_number(*credits)))
        .collect();
    if usage.balance.overage > 0 {
        made_of.push(format!("{} bought", format_number(usage.balance.overage)));
    }
    let line = format!("{:<16}{:>17}  {:>8}  {}", "allotment", format_number(allotment), "", made_of.join(" + "));
    text.push_str(&format!("{INDENT}  {line}\n\n"));
    text
}

/// Renders the lines about overages, the next rate card and prompt tests.
fn remarks(usage: &CycleUsage) -> String {
    let switch = overages(usage.balance.overages_enabled, usage.team.overage_cap_blocks);
    let bought = match usage.blocks() {
        0 => String::new(),
        blocks => format!("; {} bought in this cycle", format_count(blocks, "block", "blocks")),
    };
    let next = match usage.balance.next_rate_card.as_str() {
        "" => "none announced",
        version => version,
    };
    let mut text = format!("overages: {switch}{bought}\nnext rate card: {next}\n");
    if usage.tests.calls > 0 {
        let share = percent(usage.tests.credits, usage.total.credits);
        let (calls, credits) = (format_count(usage.tests.calls, "call", "calls"), format_number(usage.tests.credits));
        text.push_str(&format!("prompt tests: {calls}, {credits} credits ({share} of all committed credits)\n"));
    }
    if usage.total.calls == 0 { text + "no credits were committed in this cycle\n" } else { text }
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
            format_number(counts.calls),
            format_number(counts.units),
            format_number(counts.credits),
            percent(counts.credits, total.credits),
            bar(counts.credits, total.credits, SHARE_CELLS),
        ]);
    };
    for (name, counts) in shares {
        row(name, *counts);
    }
    if others.calls > 0 {
        row("all others", others);
    }
    format!("\n{}", render_table(&table))
}

/// Formats a share as a percentage, or as a dash if the whole is 0.
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
        operator::timestamp::parse,
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
        usage.add_rows(vec![row("gpt-4", Trigger::Run, 1_000), row("gpt-4o", Trigger::Test, 530)]);
        usage
    }

    fn now_ms() -> i64 {
        unix_ms(parse("2026-11-22T21:00:00Z").ok()).unwrap()
    }

    #[test]
    fn the_bar_is_in_proportion_and_fills_the_line() {
        let text = render(&usage(), now_ms());
        let bar = text.lines().nth(3).unwrap().trim_start();
        let cells = |symbol| bar.chars().filter(|other| *other == symbol).count();
        assert_eq!(bar.chars().count(), 76, "{text}");
        assert_eq!((cells('█'), cells('▒'), cells('▓'), cells('▚')), (37, 15, 1, 0), "{text}");
    }

    #[test]
    fn all_parts_are_shares_of_the_allotment() {
        let text = render(&usage(), now_ms());
        for line in [
            "team: professional, a paid seat",
            "cycle 2026-11-01 to 2026-12-01 (UTC), ends in 8 days 3 h",
            "  █ used                        1,500    50.0 %",
            "  ▒ held                          600    20.0 %  by calls in flight",
            "  ░ remaining                     900    30.0 %",
            "  ▓ run completion                 30     1.0 %  past the limit, by runs that were current",
            "  ▚ above hold                      0     0.0 %",
            "    allotment                   3,000            900 included + 100 waived + 2,000 bought",
            "overages: on; 2 blocks bought in this cycle",
            "next rate card: 2027",
            "prompt tests: 1 call, 530 credits (34.6 % of all committed credits)",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        assert!(text.contains("│ gpt-4  ┆     1 ┆     1 ┆   1,000 ┆ 65.4 % ┆ █████████████"), "{text}");
    }

    #[test]
    fn an_empty_cycle_has_no_bar() {
        let usage =
            CycleUsage::new(Team::default(), Balance { cycle_end: parse("2026-11-01").ok(), ..Balance::default() });
        let text = render(&usage, now_ms());
        assert!(text.contains("has ended") && text.contains("no credits were committed"), "{text}");
        assert!(!text.contains("0.0 %") && !text.contains('┌'), "{text}");
    }
}
