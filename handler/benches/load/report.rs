//! What was measured, for people and for machines.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::drive::CONNECTIONS;
use crate::process::Cpu;

/// All of it.
pub(crate) struct Report {
    /// Size of the executable in bytes.
    pub(crate) binary: u64,
    /// From exec to the first 200.
    pub(crate) cold_start: Duration,
    /// From exec to the answer to the first event: client, tokens and connections are made on the way.
    pub(crate) first_event: Duration,
    pub(crate) rounds: usize,
    pub(crate) turn: Duration,
    pub(crate) unlimited: Compared,
    /// Ours, of an event that comes alone, and of one in a delivery of [`BATCH`](crate::BATCH).
    pub(crate) alone: Cpu,
    pub(crate) batched: Cpu,
    /// With `maxInFlight`.
    pub(crate) limited: Compared,
    pub(crate) ticks: Vec<Tick>,
}

/// Ours beside the limit.
pub(crate) struct Compared {
    pub(crate) ours: Load,
    pub(crate) bare: Load,
}

/// A handler under load; medians of the rounds, of the processor time the least.
pub(crate) struct Load {
    pub(crate) events: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) cpu: Cpu,
    pub(crate) round_trips: f64,
    pub(crate) memory: Memory,
}

/// Resident bytes: before the first event, after the last, the most there ever was.
pub(crate) struct Memory {
    pub(crate) idle: u64,
    pub(crate) after: u64,
    pub(crate) max: u64,
}

/// One tick.
pub(crate) struct Tick {
    pub(crate) in_flight: u64,
    pub(crate) first: bool,
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    pub(crate) pages: u64,
    pub(crate) other_pages: u64,
    pub(crate) looks: u64,
    pub(crate) writes: u64,
    pub(crate) memory: u64,
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Megabytes with one digit behind the point.
fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        self.lines().unwrap_or_default() // writing to a String cannot fail
    }

    /// What does not depend on the machine: round trips, and what ticks ask for.
    pub(crate) fn counts(&self) -> String {
        let mut out = format!(
            "round trips per event: {:.2}, with maxInFlight {:.2}",
            self.unlimited.ours.round_trips, self.limited.ours.round_trips
        );
        for tick in &self.ticks {
            let Tick { in_flight, pages, looks, writes, .. } = tick;
            let _ =
                write!(out, "\ntick over {in_flight} in flight: {pages} index pages, {looks} looks, {writes} writes");
        }
        out
    }

    fn lines(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        writeln!(out, "binary       {}", megabytes(self.binary))?;
        writeln!(
            out,
            "cold start   {:.1} ms from exec to the first 200; {:.1} ms to the first event's answer",
            milliseconds(self.cold_start),
            milliseconds(self.first_event)
        )?;
        let Memory { idle, after, max } = self.unlimited.ours.memory;
        writeln!(
            out,
            "memory       {} idle, {} after {} events, never more than {}",
            megabytes(idle),
            megabytes(after),
            self.unlimited.ours.events,
            megabytes(max)
        )?;
        writeln!(
            out,
            "\nevents: {CONNECTIONS} under way, medians of {} x {} s by turns, processor time the least",
            self.rounds,
            self.turn.as_secs()
        )?;
        writeln!(
            out,
            "{:28} {:>9} {:>9} {:>9} {:>13} {:>13} {:>12}",
            "", "events/s", "p50 ms", "p99 ms", "CPU µs/event", "user µs/event", "round trips"
        )?;
        for (name, compared) in [("", &self.unlimited), (", maxInFlight", &self.limited)] {
            for (who, load) in [("scorekeeper", &compared.ours), ("same I/O, no logic", &compared.bare)] {
                writeln!(
                    out,
                    "{:28} {:>9.0} {:>9.2} {:>9.2} {:>13.0} {:>13.0} {:>12.2}",
                    format!("{who}{name}"),
                    load.per_second,
                    milliseconds(load.p50),
                    milliseconds(load.p99),
                    microseconds(load.cpu.total),
                    microseconds(load.cpu.user),
                    load.round_trips
                )?;
            }
            let percent = 100.0 * compared.ours.per_second / compared.bare.per_second;
            let (ours, bare) = (compared.ours.cpu, compared.bare.cpu);
            let times = |ours: Duration, bare: Duration| ours.as_secs_f64() / bare.as_secs_f64();
            writeln!(
                out,
                "{:28} {percent:>7.0} % {:>9} {:>9} {:>11.2} x {:>11.2} x",
                "  of the limit",
                "",
                "",
                times(ours.total, bare.total),
                times(ours.user, bare.user)
            )?;
        }
        writeln!(
            out,
            "\ndeliveries, one after the other: {:.0} µs of processor time for an event that comes alone, {:.0} µs in deliveries of {}",
            microseconds(self.alone.total),
            microseconds(self.batched.total),
            crate::BATCH
        )?;
        self.tick_lines(&mut out)?;
        Ok(out)
    }

    fn tick_lines(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nticks: nothing changed")?;
        writeln!(
            out,
            "{:>9} {:>22} {:>9} {:>9} {:>12} {:>12} {:>8} {:>8} {:>12}",
            "in flight", "", "ms", "CPU ms", "index pages", "other pages", "looks", "writes", "peak memory"
        )?;
        for tick in &self.ticks {
            writeln!(
                out,
                "{:>9} {:>22} {:>9.0} {:>9.0} {:>12} {:>12} {:>8} {:>8} {:>12}",
                tick.in_flight,
                if tick.first { "first of a process" } else { "next, right behind it" },
                milliseconds(tick.took),
                milliseconds(tick.cpu),
                tick.pages,
                tick.other_pages,
                tick.looks,
                tick.writes,
                megabytes(tick.memory)
            )?;
        }
        Ok(())
    }

    /// For machines: seconds and bytes.
    pub(crate) fn json(&self) -> Value {
        let load = |load: &Load| {
            json!({
                "events": load.events,
                "eventsPerSecond": load.per_second,
                "p50": load.p50.as_secs_f64(),
                "p99": load.p99.as_secs_f64(),
                "cpuPerEvent": load.cpu.total.as_secs_f64(),
                "userCpuPerEvent": load.cpu.user.as_secs_f64(),
                "roundTripsPerEvent": load.round_trips,
                "residentIdle": load.memory.idle,
                "residentAfter": load.memory.after,
                "residentMost": load.memory.max,
            })
        };
        let compared = |both: &Compared| json!({ "scorekeeper": load(&both.ours), "bare": load(&both.bare) });
        let ticks = self.ticks.iter().map(|tick| {
            json!({
                "inFlight": tick.in_flight,
                "first": tick.first,
                "seconds": tick.took.as_secs_f64(),
                "cpu": tick.cpu.as_secs_f64(),
                "indexPages": tick.pages,
                "otherPages": tick.other_pages,
                "looks": tick.looks,
                "writes": tick.writes,
                "residentMost": tick.memory,
            })
        });
        json!({
            "binaryBytes": self.binary,
            "coldStart": self.cold_start.as_secs_f64(),
            "firstEvent": self.first_event.as_secs_f64(),
            "connections": CONNECTIONS,
            "rounds": self.rounds,
            "secondsPerRound": self.turn.as_secs_f64(),
            "events": compared(&self.unlimited),
            "cpuPerEventAlone": self.alone.total.as_secs_f64(),
            "cpuPerEventInDeliveriesOf50": self.batched.total.as_secs_f64(),
            "eventsWithMaxInFlight": compared(&self.limited),
            "ticks": ticks.collect::<Vec<_>>(),
        })
    }
}
