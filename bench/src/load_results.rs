//! What was measured under one load, and how two contenders compare.

use std::time::Duration;

use serde::Serialize;

use crate::client::Driven;
use crate::contenders::Contender;
use crate::loads::Load;

#[derive(Debug, Serialize)]
pub(crate) struct LoadResults {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) clients: usize,
    pub(crate) workers: usize,
    pub(crate) contenders: Vec<Measured>,
    pub(crate) pairs: Vec<Pair>,
}

impl LoadResults {
    pub(crate) fn new(load: &Load, contenders: Vec<Measured>) -> Self {
        let compared = contenders.iter().enumerate().filter(|(at, one)| *at == 0 || one.is_ours);
        let pairs = compared.flat_map(|(_, one)| {
            let others = contenders.iter().filter(|other| other.name != one.name);
            others.flat_map(|other| Metric::ALL.map(|metric| Pair::new(one, other, metric)))
        });
        let pairs = pairs.filter(|pair| !pair.ratios.is_empty()).collect();
        Self {
            name: load.name.clone(),
            text: load.text(),
            clients: load.clients,
            workers: load.workers,
            contenders,
            pairs,
        }
    }

    pub(crate) fn pair(&self, contender: &str, other: &str, metric: Metric) -> Option<&Pair> {
        self.pairs
            .iter()
            .find(|pair| pair.contender == contender && pair.other == other && pair.metric == metric)
    }
}

/// One contender under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    /// It is this crate, and compared with the others like the first one.
    #[serde(skip)]
    is_ours: bool,
    pub(crate) samples: Vec<Sample>,
}

impl Measured {
    pub(crate) fn new(contender: Contender) -> Self {
        Self { name: contender.name(), is_ours: contender.is_ours(), samples: Vec::new() }
    }

    pub(crate) fn spread(&self, metric: Metric) -> Option<Spread> {
        Spread::of(self.samples.iter().filter_map(|sample| sample.value(metric)))
    }
}

/// One contender in one round.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    cpu_us_per_request: Option<f64>,
    peak_memory_mib: Option<f64>,
    pub(crate) wrong_answers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first_wrong_answer: Option<String>,
}

impl Sample {
    /// Only right answers make a request.
    pub(crate) fn new(driven: Driven, cpu: Option<Duration>, peak_memory: Option<u64>) -> Self {
        let quantile = |quantile| driven.latencies.value_at_quantile(quantile) as f64 / 1e6;
        let requests = (driven.answers - driven.wrong) as f64;
        Self {
            requests_per_second: requests / driven.elapsed.as_secs_f64(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            p999_ms: quantile(0.999),
            cpu_us_per_request: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / requests),
            peak_memory_mib: peak_memory.map(|bytes| bytes as f64 / f64::from(1 << 20)),
            wrong_answers: driven.wrong,
            first_wrong_answer: driven.first_wrong,
        }
    }

    fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::RequestsPerSecond => Some(self.requests_per_second),
            Metric::P50 => Some(self.p50_ms),
            Metric::P99 => Some(self.p99_ms),
            Metric::P999 => Some(self.p999_ms),
            Metric::Cpu => self.cpu_us_per_request,
            Metric::PeakMemory => self.peak_memory_mib,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    Cpu,
    RequestsPerSecond,
    P50,
    P99,
    P999,
    PeakMemory,
}

impl Metric {
    /// The processor time of the server first: in production the database is another machine, and this is what is left.
    pub(crate) const ALL: [Self; 6] =
        [Self::Cpu, Self::RequestsPerSecond, Self::P50, Self::P99, Self::P999, Self::PeakMemory];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "requests/s",
            Self::P50 => "p50 ms",
            Self::P99 => "p99 ms",
            Self::P999 => "p99.9 ms",
            Self::Cpu => "server CPU µs/request",
            Self::PeakMemory => "peak MiB",
        }
    }
}

/// Two contenders, round by round: the first one's value through the other's of the same round.
#[derive(Debug, Serialize)]
pub(crate) struct Pair {
    pub(crate) contender: &'static str,
    pub(crate) other: &'static str,
    pub(crate) metric: Metric,
    ratios: Vec<f64>,
    pub(crate) spread: Option<Spread>,
}

impl Pair {
    fn new(contender: &Measured, other: &Measured, metric: Metric) -> Self {
        let ratios: Vec<f64> = contender
            .samples
            .iter()
            .zip(&other.samples)
            .filter_map(|(one, other)| Some(one.value(metric)? / other.value(metric)?))
            .collect();
        Self {
            contender: contender.name,
            other: other.name,
            metric,
            spread: Spread::of(ratios.iter().copied()),
            ratios,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(*values.get(middle.checked_sub(1)?)?, values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min: *values.first()?, max: *values.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        let (median, min, max) = (2.5, 1.0, 4.0);
        assert_eq!(spread, Some(Spread { median, min, max }));
        assert_eq!(Spread::of([].into_iter()), None);
    }
}
