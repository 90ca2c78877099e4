//! The results as Markdown, which can also be read as it is.

use std::iter::once;

use crate::load_results::{LoadResults, Metric, Spread};
use crate::results::Results;
use crate::targets::{Bound, Target};

pub(crate) fn markdown(results: &Results) -> String {
    let [machine, crates] = results.machine.text();
    let settings = &results.settings;
    let mut text = format!(
        "`{}`\n\n{machine}\n{crates}\n{} sessions; {} rounds of {} s each; median (min–max)\n",
        settings.command, settings.sessions, settings.rounds, settings.seconds,
    );
    if let Some(pinned) = &settings.pinned {
        text += &format!("{pinned}\n");
    }
    for load in &results.loads {
        text += &format!("\n## {}: {}\n\n{}", load.name, load.text, measured(load));
        if !load.pairs.is_empty() {
            text += &format!("\n{}", pairs(load));
        }
        text += &wrong_answers(load);
    }
    if !results.targets.is_empty() {
        text += &format!("\n## Targets\n\n{}", targets(&results.targets));
    }
    text
}

fn measured(load: &LoadResults) -> String {
    let rows = load.contenders.iter().map(|contender| {
        let cells = Metric::ALL.map(|metric| cell(contender.spread(metric), digits(metric)));
        once(contender.name.to_owned()).chain(cells).collect()
    });
    table("", rows)
}

fn pairs(load: &LoadResults) -> String {
    let mut compared: Vec<&str> = load.pairs.iter().map(|pair| pair.contender).collect();
    compared.dedup();
    let tables = compared.into_iter().map(|one| {
        let others = load.contenders.iter().filter(|other| other.name != one);
        let rows = others.map(|other| {
            let cells = Metric::ALL.map(|metric| {
                let pair = load.pair(one, other.name, metric);
                cell(pair.and_then(|pair| pair.spread), 2)
            });
            once(format!("÷ {}", other.name)).chain(cells).collect()
        });
        table(&format!("{one}, pair by pair"), rows)
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn wrong_answers(load: &LoadResults) -> String {
    let mut text = String::new();
    for contender in &load.contenders {
        let samples = &contender.samples;
        let wrong: u64 = samples.iter().map(|sample| sample.wrong_answers).sum();
        let mut first = samples.iter().filter_map(|sample| sample.first_wrong_answer.as_deref());
        if let Some(first) = first.next() {
            text += &format!("\n{}: {wrong} WRONG ANSWERS, such as {first:?}\n", contender.name);
        }
    }
    text
}

fn targets(targets: &[Target]) -> String {
    let rows = targets.iter().map(|target| {
        let bound = match target.bound {
            Bound::AtLeast(bound) => format!("≥ {bound}"),
            Bound::AtMost(bound) => format!("≤ {bound}"),
        };
        let measured = target.measured.map(|ratio| format!("{ratio:.3}"));
        let met = match target.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "not measured",
        };
        vec![
            target.load.clone(),
            target.contender.to_owned(),
            format!("{} ÷ {}", target.metric.title(), target.other),
            bound,
            measured.unwrap_or_default(),
            met.to_owned(),
        ]
    });
    lines(["load", "contender", "", "to reach", "measured", ""].map(str::to_owned).to_vec(), rows)
}

fn digits(metric: Metric) -> usize {
    match metric {
        Metric::RequestsPerSecond => 0,
        Metric::P50 | Metric::P99 | Metric::P999 => 2,
        Metric::Cpu | Metric::PeakMemory => 1,
    }
}

fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    )
}

fn table(corner: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let head = once(corner).chain(Metric::ALL.map(Metric::title));
    lines(head.map(str::to_owned).collect(), rows)
}

fn lines(head: Vec<String>, rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            text += &format!("| {cell:width$} ");
        }
        text += "|\n";
        if at == 0 {
            for width in &widths {
                text += &format!("|{}", "-".repeat(width + 2));
            }
            text += "|\n";
        }
    }
    text
}
