//! `bench`: how fast layers are, beside what the multiply-add units of the same core can do in the same run.
//!
//! The peak is measured for the width of the backend's vectors, before every layer again; the greatest counts. Run times are
//! the median of many runs on data that stay in the caches. What runs on one thread is timed with the clock of the CPU, which
//! other programs on the machine do not move; several threads, and the program of the backend rust, with that on the wall.
//! Beside it stand the bytes of the layer's tensors a second; pooling multiplies nothing and has that alone.

mod measure;
mod peak;

use crate::args::{Bench, BenchBackend, name_of};
use crate::failure::Failure;
use crate::measure::{Clock, geometric_mean, pin};
use crate::numbers::{three_digits, time};
use crate::source;
use convoke_core::target::Target;
use measure::{Measured, Subject};
use peak::Peak;
use serde::Serialize;
use std::io::Write;

pub(crate) fn run(args: &Bench, out: &mut dyn Write) -> Result<(), Failure> {
    let target = super::runnable_target(&args.target)?;
    let sources = source::read(&args.layers)?;
    let selected = source::select(&sources, &args.layers)?;
    let threads = usize::from(args.threads);
    if threads > 1 && args.backend != BenchBackend::Jit {
        return Err(Failure::Usage("only the backend jit has --threads".to_owned()));
    }
    let alone = threads == 1 && args.backend != BenchBackend::Rust;
    let clock = if alone { Clock::of_this_thread() } else { Clock::Wall };
    let subject = Subject::new(args.backend, &selected, &target, threads, clock)?;
    let pinned = if threads == 1 { pin() } else { None };
    let names = selected.iter().map(|layer| layer.spec.name.chars().count()).max().unwrap_or(0).max(18);
    let mut peak = Peak::new(&target, clock);
    if !args.json {
        head(&target, &peak, threads, pinned, clock, out)?;
        if let Some(seconds) = subject.rustc_seconds() {
            writeln!(out, "rustc compiled the emitted source in {}", time(seconds))?;
        }
        columns(names, out)?;
    }
    let mut speeds = Vec::new();
    for (at, layer) in selected.iter().enumerate() {
        peak.measure();
        let m = subject.measure(*layer, at)?;
        // Pooling multiplies nothing.
        let percent = (!layer.spec.operation.is_pooling())
            .then(|| 100.0 * m.gflops / (peak.gflops(layer.spec.dtype) * threads as f64));
        speeds.push([Some(m.gflops), percent, Some(m.gb_per_s)]);
        if args.json {
            super::json_line(out, &Line::new(args, clock, &layer.text.name, &layer.spec.name, &m, percent))?;
        } else {
            row(
                names,
                &layer.spec.name,
                &m.plan,
                [Some(m.gflops), percent, Some(m.gb_per_s), m.compile_us, Some(m.pack_us), Some(m.run_us)],
                out,
            )?;
        }
        out.flush()?;
    }
    if !args.json {
        let mean = |at: usize| {
            let values: Vec<f64> = speeds.iter().filter_map(|speed| speed[at]).collect();
            (!values.is_empty()).then(|| geometric_mean(values.into_iter()))
        };
        row(names, "geomean", "", [mean(0), mean(1), mean(2), None, None, None], out)?;
    }
    Ok(())
}

fn head(
    target: &Target,
    peak: &Peak,
    threads: usize,
    pinned: Option<usize>,
    clock: Clock,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let bits = target.isa.vector_bytes() * 8;
    let core = pinned.map_or(String::new(), |core| format!(", pinned to core {core}"));
    let on = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let what = if target.fma { "multiply-add" } else { "multiply and add" };
    let f32_peak = three_digits(peak.gflops(convoke::DType::F32));
    let clock = clock.text();
    writeln!(
        out,
        "{}, {on}{core}, {clock} time; {what} peak of one core at {bits} bits: {f32_peak} GFLOP/s of f32",
        target.name()
    )?;
    Ok(())
}

fn columns(names: usize, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(
        out,
        "\n{:<names$} {:<30} {:>8} {:>7} {:>7} {:>11} {:>9} {:>11}",
        "layer", "plan", "GFLOP/s", "% peak", "GB/s", "compile µs", "pack µs", "run µs"
    )?;
    Ok(())
}

fn row(names: usize, name: &str, plan: &str, cells: [Option<f64>; 6], out: &mut dyn Write) -> Result<(), Failure> {
    let [gflops, percent, gb_per_s, compile, pack, run] = cells
        .map(|cell| cell.map_or(String::new(), |x| if x >= 99.95 { format!("{x:.0}") } else { format!("{x:.1}") }));
    let line =
        format!("{name:<names$} {plan:<30} {gflops:>8} {percent:>7} {gb_per_s:>7} {compile:>11} {pack:>9} {run:>11}");
    Ok(writeln!(out, "{}", line.trim_end())?)
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    layer: &'a str,
    backend: String,
    status: &'a str,
    gflops: f64,
    percent_of_peak: Option<f64>,
    gb_per_s: f64,
    compile_us: Option<f64>,
    pack_us: f64,
    run_us: f64,
    threads: u16,
    clock: &'a str,
    plan: &'a str,
}

impl<'a> Line<'a> {
    fn new(args: &Bench, clock: Clock, file: &'a str, layer: &'a str, m: &'a Measured, percent: Option<f64>) -> Self {
        let Measured { plan, gflops, gb_per_s, compile_us, pack_us, run_us } = m;
        Self {
            file,
            layer,
            backend: name_of(&args.backend),
            status: "ok",
            gflops: *gflops,
            percent_of_peak: percent,
            gb_per_s: *gb_per_s,
            compile_us: *compile_us,
            pack_us: *pack_us,
            run_us: *run_us,
            threads: args.threads,
            clock: clock.text(),
            plan,
        }
    }
}
