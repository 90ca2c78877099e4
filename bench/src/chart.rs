//! Bars for the README: a panel for each load, a bar for each contender.

use std::fs;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::contenders::Outcome;
use crate::load_results::{LoadResults, Metric, Spread};
use crate::results::Results;

const WIDTH: i32 = 960;
const MARGIN: i32 = 24;
const HEAD: i32 = 64;
const FOOT: i32 = 72;
const PANEL_HEAD: i32 = 34;
const ROW: i32 = 20;
const NAMES: i32 = 150;
const VALUES: i32 = 70;
const COLUMNS: usize = 2;

const OURS: RGBColor = RGBColor(0xC2, 0x41, 0x0C);
const THEIRS: RGBColor = RGBColor(0x94, 0xA3, 0xB8);
const INK: RGBColor = RGBColor(0x1E, 0x29, 0x3B);

/// Writes `cpu.svg`, `throughput.svg` and `p99.svg` into a folder.
pub(crate) fn draw(results: &Results, folder: &Path) -> Outcome {
    fs::create_dir_all(folder)?;
    for (file, title, metric) in [
        ("cpu.svg", "Processor time of the server per request in µs (shorter is better)", Metric::Cpu),
        ("throughput.svg", "Requests per second (longer is better)", Metric::RequestsPerSecond),
        ("p99.svg", "99th percentile of the latency in ms (shorter is better)", Metric::P99),
    ] {
        chart(results, title, metric, &folder.join(file))?;
    }
    Ok(())
}

fn chart(results: &Results, title: &str, metric: Metric, file: &Path) -> Outcome {
    let heights: Vec<i32> = results
        .loads
        .chunks(COLUMNS)
        .map(|row| {
            let bars = row.iter().map(|load| load.contenders.len()).max();
            PANEL_HEAD + ROW * bars.unwrap_or(0) as i32 + MARGIN
        })
        .collect();
    let height = HEAD + heights.iter().sum::<i32>() + FOOT;
    let root = SVGBackend::new(file, (WIDTH as u32, height as u32)).into_drawing_area();
    root.fill(&WHITE)?;
    label(&root, title, (MARGIN, 32), 20, HPos::Left)?;
    let width = (WIDTH - MARGIN) / COLUMNS as i32;
    let mut top = HEAD;
    for (row, height) in results.loads.chunks(COLUMNS).zip(heights) {
        for (column, load) in row.iter().enumerate() {
            let left = MARGIN + width * column as i32;
            panel(&root, load, metric, (left, top), width - MARGIN)?;
        }
        top += height;
    }
    for (at, line) in captions(results).iter().enumerate() {
        label(&root, line, (MARGIN, top + 10 + 16 * at as i32), 11, HPos::Left)?;
    }
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn panel(
    root: &Area<'_>,
    load: &LoadResults,
    metric: Metric,
    (left, top): (i32, i32),
    width: i32,
) -> Outcome {
    label(root, &load.text, (left, top), 12, HPos::Left)?;
    let bars: Vec<(&str, Spread)> = load
        .contenders
        .iter()
        .filter_map(|contender| Some((contender.name, contender.spread(metric)?)))
        .collect();
    let longest = bars.iter().map(|(_, bar)| bar.max).fold(0.0, f64::max);
    let start = left + NAMES;
    let scale = f64::from(width - NAMES - VALUES) / longest;
    let x = |value: f64| start + (value * scale).round() as i32;
    for (at, (name, bar)) in bars.iter().enumerate() {
        let middle = top + PANEL_HEAD + ROW * at as i32;
        let color = if at == 0 { OURS } else { THEIRS };
        label(root, name, (start - 8, middle), 12, HPos::Right)?;
        root.draw(&Rectangle::new([(start, middle - 7), (x(bar.median), middle + 7)], color.filled()))?;
        root.draw(&PathElement::new([(x(bar.min), middle), (x(bar.max), middle)], INK))?;
        let digits = if bar.median < 100.0 { 2 } else { 0 };
        let value = format!("{:.digits$}", bar.median);
        label(root, &value, (x(bar.max) + 6, middle), 12, HPos::Left)?;
    }
    Ok(())
}

fn captions(results: &Results) -> [String; 4] {
    let [machine, crates] = results.machine.text();
    let settings = &results.settings;
    [
        format!(
            "Median of {} rounds of {} s each, line = min to max; {} sessions",
            settings.rounds, settings.seconds, settings.sessions,
        ),
        settings.command.clone(),
        machine,
        crates,
    ]
}

fn label(root: &Area<'_>, text: &str, at: (i32, i32), size: i32, side: HPos) -> Outcome {
    let style = ("sans-serif", size)
        .into_text_style(root)
        .with_color(INK)
        .with_anchor::<RGBColor>(Pos::new(side, VPos::Center))
        .into_text_style(root);
    root.draw(&Text::new(text.to_owned(), at, style))?;
    Ok(())
}
