//! `verify`: every layer against the reference, and the backends against each other.
//!
//! Each layer gets two sets of data. On small whole numbers every sum is exact, so a backend has to give exactly what the
//! reference gives; steps of the epilogue that round (sigmoid and its like) are left out there. On random numbers an output may
//! be as far from the exact one as the error bound of the core says. Where several backends run, their results on the
//! random numbers have to be the same bits, and so have those of the backend jit on several threads. A layer of integers has one set,
//! of all that its types hold, and every backend gives exactly what the reference gives.

mod backends;
mod oracle;

use crate::args::{Verify, name_of};
use crate::compute::Output;
use crate::failure::Failure;
use crate::integers::Integers;
use crate::numbers::time;
use crate::progress;
use crate::source::{self, Selected};
use backends::{Backends, Name};
use convoke::{Bf16, F16, Float};
use convoke_core::spec::Storage;
use oracle::{Cases, Truth};
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

pub(crate) fn run(args: &Verify, out: &mut dyn Write) -> Result<(), Failure> {
    let target = super::runnable_target(&args.target)?;
    let sources = source::read(&args.layers)?;
    let selected = source::select(&sources, &args.layers)?;
    let names = Name::of(args.backend);
    let bar = progress::steps(selected.len(), args.json);
    if names.contains(&Name::Rust) {
        bar.set_message("compiling the emitted Rust");
    }
    let backends = Backends::new(&names, &selected, target, usize::from(args.threads))?;
    let (mut passed, mut failed) = (0, 0);
    for (at, layer) in selected.iter().enumerate() {
        bar.set_message(layer.name());
        let start = Instant::now();
        let reports = match layer.spec.src_storage() {
            Storage::F32 => check::<f32>(*layer, at, &backends, args.seed),
            Storage::F64 => check::<f64>(*layer, at, &backends, args.seed),
            Storage::F16 => check::<F16>(*layer, at, &backends, args.seed),
            Storage::Bf16 => check::<Bf16>(*layer, at, &backends, args.seed),
            Storage::I32 | Storage::U8 | Storage::I8 => check_integers(*layer, at, &backends, args.seed),
        };
        let seconds = start.elapsed().as_secs_f64();
        passed += reports.iter().filter(|r| r.reason.is_none()).count();
        failed += reports.iter().filter(|r| r.reason.is_some()).count();
        bar.suspend(|| print(args, *layer, &reports, seconds, out))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !args.json {
        writeln!(out, "{passed} passed, {failed} failed")?;
    }
    if failed > 0 { Err(Failure::Reported) } else { Ok(()) }
}

/// What one backend made of one layer.
struct Report {
    backend: Name,
    /// Why it failed.
    reason: Option<String>,
    /// The error that comes closest to its bound, and that bound.
    error: Option<(f64, f64)>,
}

/// Checks every backend on one layer.
fn check<T: Float>(layer: Selected<'_>, at: usize, backends: &Backends, seed: u64) -> Vec<Report> {
    let cases = Cases::<T>::new(layer.spec, seed);
    let truth = Truth::new(&cases);
    let mut first: Option<(Name, Output<T>)> = None;
    let mut reports = Vec::new();
    for &backend in &backends.names {
        let mut error = None;
        let outcome = backends.run(backend, layer, at, &cases).and_then(|results| {
            truth.check_whole(&cases, results.whole_algorithm, &results.whole.dst)?;
            oracle::check_indices(&cases.exact, &cases.whole, &results.whole.indices)?;
            error = Some(truth.check_random(&cases, results.algorithm, &results.random[0].dst)?);
            oracle::check_indices(&cases.spec, &cases.random, &results.random[0].indices)?;
            for other in &results.random[1..] {
                let n = backends.threads;
                oracle::same_bits(&cases.spec, &results.random[0], other)
                    .map_err(|at| format!("1 thread and {n} threads differ {at}"))?;
            }
            let Some(random) = results.random.into_iter().next() else { return Err("there is no result".to_owned()) };
            match &first {
                Some((name, expected)) => oracle::same_bits(&cases.spec, expected, &random)
                    .map_err(|at| format!("its bits are not those of {} {at}", name.text()))?,
                None => first = Some((backend, random)),
            }
            Ok(())
        });
        reports.push(Report { backend, reason: outcome.err(), error });
    }
    reports
}

/// Checks every backend on one layer of integers.
fn check_integers(layer: Selected<'_>, at: usize, backends: &Backends, seed: u64) -> Vec<Report> {
    let tensors = Integers::random(layer.spec, seed, oracle::NAMED_BATCH);
    let expected = tensors.reference(layer.spec);
    let check = |found: &Output<i32>| {
        oracle::check_integers(layer.spec, &expected.dst, &found.dst)?;
        oracle::same_indices(layer.spec, &expected.indices, &found.indices)
    };
    let report = |&backend: &Name| {
        let results = backends.run_integers(backend, layer, at, &tensors);
        let outcome = results.and_then(|results| results.iter().try_for_each(check));
        Report { backend, reason: outcome.err(), error: None }
    };
    backends.names.iter().map(report).collect()
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    layer: &'a str,
    backend: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    max_error: Option<f64>,
    bound: Option<f64>,
    seed: u64,
    /// The layer, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<String>,
}

fn print(
    args: &Verify,
    layer: Selected<'_>,
    reports: &[Report],
    seconds: f64,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if args.json {
        for r in reports {
            let line = Line {
                file: &layer.text.name,
                layer: &layer.spec.name,
                backend: r.backend.text(),
                status: if r.reason.is_none() { "passed" } else { "failed" },
                reason: r.reason.as_deref(),
                max_error: r.error.map(|e| e.0),
                bound: r.error.map(|e| e.1),
                seed: args.seed,
                spec: r.reason.as_ref().map(|_| layer.spec.to_string()),
            };
            super::json_line(out, &line)?;
        }
        return Ok(out.flush()?);
    }
    let good: Vec<_> = reports.iter().filter(|r| r.reason.is_none()).collect();
    if !good.is_empty() {
        let names: Vec<_> = good.iter().map(|r| r.backend.text()).collect();
        let error =
            good.iter().find_map(|r| r.error).map_or(String::new(), |(e, b)| format!(", error {e:.1e} of {b:.1e}"));
        writeln!(out, "{}: {} ok{error}, {}", layer.name(), names.join(" "), time(seconds))?;
    }
    for (r, reason) in reports.iter().filter_map(|r| Some((r, r.reason.as_ref()?))) {
        writeln!(out, "{}: {} FAILED: {reason}", layer.name(), r.backend.text())?;
        let Verify { target, seed, threads, .. } = args;
        let backend = name_of(&args.backend);
        writeln!(
            out,
            "  to see it again, give this to convoke verify - --backend {backend} --target {target} --seed {seed} --threads {threads}"
        )?;
        for line in layer.spec.to_string().lines() {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests;
