//! The last day at a glance: what ended by the hour, how long phases take, the signs of life, and what accounts for what.

use app::reports::{CoverageView, HourView, PhaseTime, StatusReport, SweepView, duration_text, utc_text};
use lifecycle::coverage::Outcome;
use maud::{Markup, html};
use time::OffsetDateTime;

use super::wide;
use crate::cli::view::ago;

/// Width of an hour, and height of the highest.
const HOUR: usize = 10;
const HEIGHT: usize = 60;

/// The last 24 hours: what was scored and what failed by the hour, how long phases took, and signs of life.
pub(super) fn day(report: &StatusReport, phases: &[PhaseTime], now: OffsetDateTime) -> Markup {
    html! {
        h2 { "Last 24 hours" }
        div.figures {
            (chart("scored", "good", &report.hours, |hour| hour.scored))
            (chart("failed", "bad", &report.hours, |hour| hour.failed))
            (phase_table(phases))
            (signs(report, now))
        }
    }
}

/// What ended so, by the hour: a bar for each.
fn chart(what: &str, class: &str, hours: &[HourView], of: fn(&HourView) -> usize) -> Markup {
    let all: usize = hours.iter().map(of).sum();
    let most = hours.iter().map(of).max().unwrap_or(0);
    let label = format!("{what} by the hour: {all} in all, {most} at most in one");
    let height = |hour: &HourView| of(hour) * HEIGHT / most.max(1);
    html! {
        figure {
            figcaption { b { (all) } " " (what) ", at most " (most) " an hour" }
            svg.hours viewBox={ "0 0 " (hours.len() * HOUR) " " (HEIGHT + 1) } preserveAspectRatio="none" role="img" aria-label=(label) {
                @for (n, hour) in hours.iter().enumerate() {
                    // One that is not nothing shows, beside however many.
                    @let height = if of(hour) > 0 { height(hour).max(2) } else { 0 };
                    rect class=(class) x=(n * HOUR + 1) y=(HEIGHT - height) width=(HOUR - 2) height=(height) {
                        title { (format!("{:02}:00 UTC: {} {what}", hour.begin.hour(), of(hour))) }
                    }
                }
                rect.base x="0" y=(HEIGHT) width=(hours.len() * HOUR) height="1" {}
            }
        }
    }
}

fn phase_table(phases: &[PhaseTime]) -> Markup {
    html! {
        @if !phases.is_empty() {
            table {
                caption { "Phases of the last " (phases.iter().map(|time| time.of).max().unwrap_or(0)) " that were scored" }
                thead { tr { th scope="col" { "phase" } th.number scope="col" { "p50" } th.number scope="col" { "p95" } } }
                tbody {
                    @for time in phases {
                        tr { th scope="row" { (time.phase.label()) } td.number { (duration_text(time.p50)) } td.number { (duration_text(time.p95)) } }
                    }
                }
            }
        }
    }
}

/// When something last came, and was last seen to.
fn signs(report: &StatusReport, now: OffsetDateTime) -> Markup {
    let at = |at: Option<OffsetDateTime>, none: &'static str| {
        html! {
            @match at { Some(at) => span title={ (utc_text(at)) " UTC" } { (ago(at, now)) " ago" }, None => (none) }
        }
    };
    html! {
        dl {
            dt { "last event" } dd { (at(report.last_upload, "none yet")) }
            dt { "last reconcile run" } dd { (at(report.last_run, "none was completed yet")) @if report.running_since.is_some() { ", one is at work" } }
            dt { "in flight" } dd { (report.in_flight) @if let Some(oldest) = report.oldest { ", the oldest since " (ago(oldest, now)) } }
            dt { "skipped" } dd { (report.skipped) }
            dt { "quarantined" } dd { (report.quarantined) }
            dt { "unaccounted" } dd { (report.unaccounted()) }
        }
    }
}

/// What accounts for the versions of each rule and day, and what the sweeps of its places say.
pub(super) fn coverage(days: &[CoverageView], places: &[SweepView], now: OffsetDateTime) -> Markup {
    let by_what = |view: &CoverageView| {
        let each = Outcome::ALL.iter().filter_map(|outcome| Some((outcome, view.outcomes.get(outcome)?)));
        each.map(|(outcome, count)| format!("{count} {}", outcome.name())).collect::<Vec<_>>().join(", ")
    };
    let accounted = html! {
        table {
            caption { "What accounts for the versions of the last day" }
            thead { tr { th scope="col" { "day" } th scope="col" { "rule" } th.number scope="col" { "accounted" } th scope="col" { "by what" } } }
            tbody {
                @for view in days {
                    tr { td.short { (view.day) } td.name { (view.rule.as_deref().unwrap_or("–")) } td.number { (view.accounted) } td { (by_what(view)) } }
                }
            }
        }
    };
    let swept = html! {
        table {
            caption { "Sweeps: what lies in the watched places" }
            thead { tr { th scope="col" { "rule" } th scope="col" { "place" } th scope="col" { "ended" } th.number scope="col" { "listed" } th.number scope="col" { "found" } th.number scope="col" { "unaccounted" } } }
            tbody {
                @for view in places {
                    tr {
                        td.name { (view.rule.as_str()) }
                        td.name { (view.place) @if let Some(why) = &view.failure { " " span.wrong { (why) } } }
                        td.short { @match view.ended { Some(at) => { (ago(at, now)) " ago" }, None => "not yet" } }
                        td.number { (view.listed) } td.number { (view.found) }
                        td.number { @if view.unaccounted > 0 { b.wrong { (view.unaccounted) } } @else { "0" } }
                    }
                }
            }
        }
    };
    html! {
        @if !days.is_empty() { (wide("Coverage", &accounted)) }
        @if !places.is_empty() { (wide("Sweeps", &swept)) }
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn each_hour_has_a_bar_and_one_of_a_thousand_is_seen() {
        let hour = |n: usize| HourView {
            begin: datetime!(2026-07-21 10:00 UTC) + Duration::hours(i64::try_from(n).expect("few")),
            scored: [1_000, 0, 1][n],
            failed: 0,
            otherwise: 0,
        };
        let hours: Vec<_> = (0..3).map(hour).collect();
        let svg = chart("scored", "good", &hours, |hour| hour.scored).into_string();
        assert!(svg.contains("1001 in all, 1000 at most in one") && svg.contains("10:00 UTC: 1000 scored"), "{svg}");
        let heights: Vec<_> = svg
            .split("class=\"good\"")
            .skip(1)
            .map(|bar| bar.split("height=\"").nth(1).unwrap().split('"').next().unwrap())
            .collect();
        assert_eq!(heights, ["60", "0", "2"]);
        let none = chart("failed", "bad", &hours, |hour| hour.failed).into_string();
        assert!(none.contains("<b>0</b> failed") && !none.contains("height=\"2\""), "{none}");
    }
}
