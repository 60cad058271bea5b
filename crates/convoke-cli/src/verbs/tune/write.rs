//! Schedules into the files that their layers come from.
//!
//! What is new is inserted; not a byte of the rest changes, comments inside a `schedule { }` block included. Every new text is
//! read again, and must give the same layers with the plans that were measured, before the first file is written.

use super::Tuned;
use crate::args::Tune;
use crate::data::write_whole;
use crate::failure::Failure;
use crate::source::{Source, Text};
use convoke_core::front;
use convoke_core::front::ast::{self, Value, ValueKind};
use convoke_core::plan::{self, Plan};
use convoke_core::spec::{LayerSpec, Limits};
use convoke_core::target::Target;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Refuses what cannot be written to, before anything is measured.
pub(super) fn check_files(files: &[PathBuf]) -> Result<(), Failure> {
    let usage = |message: String| Err(Failure::Usage(message));
    let mut seen = Vec::new();
    for path in files {
        if path == Path::new("-") {
            return usage("--write changes files, and - is standard input; use --schedule to see the plans".to_owned());
        }
        let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        if seen.contains(&whole) {
            return usage(format!("{}: --write takes a file once", path.display()));
        }
        seen.push(whole);
    }
    Ok(())
}

/// Pins the fastest plan of each layer in its file.
pub(super) fn write(
    sources: &[Source],
    all: &[Tuned<'_>],
    target: &Target,
    args: &Tune,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut texts = Vec::new();
    for (source, path) in sources.iter().zip(&args.layers.files) {
        let of_layer = |spec: &LayerSpec| {
            let tuned = all.iter().find(|tuned| std::ptr::eq(tuned.layer.spec, spec));
            tuned.map(Tuned::best_plan)
        };
        let plans: Vec<Option<&Plan>> = source.layers.iter().map(of_layer).collect();
        if plans.iter().all(Option::is_none) {
            continue;
        }
        let text = pinned(&source.text.text, &plans)
            .and_then(|text| check(&source.layers, &plans, &text, target).map(|()| text));
        let text = text.map_err(|why| Failure::file(path, format!("the schedules cannot be written: {why}")))?;
        if Text::read(path)?.text != source.text.text {
            return Err(Failure::file(path, "the file has changed meanwhile; nothing is written, tune it again"));
        }
        texts.push((path, text, plans.iter().flatten().count()));
    }
    for (path, text, count) in texts {
        write_whole(path, text.as_bytes())?;
        if !args.json {
            let s = if count == 1 { "schedule" } else { "schedules" };
            writeln!(out, "wrote {count} {s} into {}", path.display())?;
        }
    }
    Ok(())
}

/// Whether `text` has the same layers, with `plans` for plans.
fn check(layers: &[LayerSpec], plans: &[Option<&Plan>], text: &str, target: &Target) -> Result<(), String> {
    let again = front::layers(text, &Limits::default()).map_err(|_| "the new text is not legal".to_owned())?;
    let expected = layers.iter().zip(plans).map(|(spec, plan)| match plan {
        Some(plan) => LayerSpec { schedule: plan.to_schedule(), ..spec.clone() },
        None => spec.clone(),
    });
    if !again.iter().cloned().eq(expected) {
        return Err("the new text would have other layers".to_owned());
    }
    for (spec, plan) in again.iter().zip(plans) {
        let Some(plan) = plan else { continue };
        let chosen = plan::choose(spec, target).map_err(|e| e.to_string())?;
        if chosen.to_schedule() != plan.to_schedule() {
            return Err(format!("layer {} would have another plan", spec.name));
        }
    }
    Ok(())
}

/// `text` with a plan pinned in each layer that has one.
fn pinned(text: &str, plans: &[Option<&Plan>]) -> Result<String, String> {
    let file = front::parse(text).map_err(|_| "it cannot be read again".to_owned())?;
    let mut out = text.to_owned();
    // From the end on, so that what comes before keeps its place.
    for (layer, plan) in file.layers.iter().zip(plans).rev() {
        let Some(plan) = plan else { continue };
        let mut edits = Editor { text, comments: &file.comments, edits: Vec::new() };
        edits.pin(layer, plan);
        for (at, new) in edits.edits.into_iter().rev() {
            out.insert_str(at, &new);
        }
    }
    Ok(out)
}

/// Insertions into a text, in its order.
struct Editor<'a> {
    text: &'a str,
    comments: &'a [ast::Comment],
    edits: Vec<(usize, String)>,
}

impl Editor<'_> {
    fn pin(&mut self, layer: &ast::Layer, plan: &Plan) {
        let printed = plan.to_string();
        // Between the braces: `    algorithm: direct,` and so on.
        let lines = printed.lines().filter_map(|line| line.strip_prefix("    "));
        let block = layer.fields.iter().find(|field| field.name.value == "schedule").map(|field| &field.value);
        match block {
            Some(Value { kind: ValueKind::Block(fields), span }) => {
                let pinned = |line: &&str| fields.iter().any(|f| line.starts_with(&format!("{}:", f.name.value)));
                let missing: Vec<String> = lines.filter(|line| !pinned(line)).map(str::to_owned).collect();
                self.insert(fields, span.range(), &missing);
            }
            _ => {
                let fields: Vec<String> = lines.map(str::to_owned).collect();
                let broken = self.between(layer).contains('\n');
                let schedule = if broken {
                    let inner = fields.into_iter().map(|line| format!("    {line}"));
                    std::iter::once("schedule {".to_owned()).chain(inner).chain(["}".to_owned()]).collect()
                } else {
                    vec![format!("schedule {{ {} }}", fields.join(" ").trim_end_matches(','))]
                };
                self.insert(&layer.fields, layer.span.range(), &schedule);
            }
        }
    }

    /// What stands between the last field and the closing brace.
    fn between(&self, layer: &ast::Layer) -> &str {
        let from = layer.fields.last().map_or(layer.name.span.end, |field| field.value.span.end);
        self.text.get(from..layer.span.end).unwrap_or_default()
    }

    /// Puts `lines` behind the last of `fields`, in what spans `range` and ends with a brace.
    fn insert(&mut self, fields: &[ast::Field], range: Range<usize>, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let close = range.end.saturating_sub(1);
        let inside = self.text.get(range.start..close).unwrap_or_default();
        if let Some(last) = fields.last() {
            let (end, is_block) = (last.value.span.end, matches!(last.value.kind, ValueKind::Block(_)));
            if !is_block && !self.has_comma(end..close) {
                self.edits.push((end, ",".to_owned()));
            }
        }
        let at = range.start + inside.trim_end().len();
        let from = fields.last().map_or(range.start, |last| last.value.span.end);
        let broken = self.text.get(from..close).is_some_and(|rest| rest.contains('\n'));
        let new = if broken {
            let line = if self.text.contains("\r\n") { "\r\n" } else { "\n" };
            let indent = match fields.last() {
                Some(last) => self.indent(last.name.span.start),
                None => format!("{}    ", self.indent(close)),
            };
            lines.iter().map(|text| format!("{line}{indent}{text}")).collect()
        } else {
            let space = if fields.is_empty() && !inside.ends_with(' ') { " " } else { "" };
            let joined = lines.join(" ");
            format!(" {}{space}", joined.trim_end_matches(','))
        };
        self.edits.push((at, new));
    }

    /// Whether there is a comma in `range` that is no part of a comment.
    fn has_comma(&self, range: Range<usize>) -> bool {
        let in_comment = |at: usize| self.comments.iter().any(|c| c.span.range().contains(&at));
        let commas = self.text.get(range.clone()).unwrap_or_default().match_indices(',');
        commas.into_iter().any(|(at, _)| !in_comment(range.start + at))
    }

    /// The white space that the line of `at` begins with.
    fn indent(&self, at: usize) -> String {
        let before = self.text.get(..at).unwrap_or_default();
        let line = before.rfind('\n').map_or(before, |end| &before[end + 1..]);
        line.chars().take_while(|c| c.is_whitespace()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `text` with the planner's choice pinned in every layer, which must be legal, mean the same and be laid out as before.
    fn pin_all(text: &str) -> String {
        let target = Target::AVX2;
        let layers = front::layers(text, &Limits::default()).unwrap();
        let chosen: Vec<Plan> = layers.iter().map(|l| plan::choose(l, &target).unwrap()).collect();
        let plans: Vec<Option<&Plan>> = chosen.iter().map(Some).collect();
        let new = pinned(text, &plans).unwrap();
        check(&layers, &plans, &new, &target).unwrap_or_else(|why| panic!("{why}: {new}"));
        if front::format(text).as_deref() == Ok(text) {
            assert_eq!(front::format(&new).as_deref(), Ok(new.as_str()));
        }
        let comments =
            |text: &str| front::parse(text).unwrap().comments.into_iter().map(|c| c.text).collect::<Vec<_>>();
        assert_eq!(comments(text), comments(&new));
        // Taking away what was put in leaves the text.
        let mut rest = new.chars().peekable();
        assert!(text.chars().all(|c| rest.any(|other| other == c)), "{text} is not in {new}");
        new
    }

    #[test]
    fn a_canonical_text_stays_canonical() {
        let new = pin_all(
            "// Two layers.\nconv1d a {\n    input: f32[1, 2, 9], // in\n    out_channels: 3,\n    kernel_size: 3, // last\n    // end\n}\n\n/* b */\nconv1d b {\n    input: f32[1, 2, 9],\n    out_channels: 3,\n    kernel_size: 3,\n}\n",
        );
        assert!(new.contains("    // end\n    schedule {\n        algorithm: direct,\n"), "{new}");
        assert!(new.contains("    kernel_size: 3,\n    schedule {\n"), "{new}");
    }

    #[test]
    fn any_layout_is_kept() {
        for text in [
            "conv1d a{input:f32[1,1,9],out_channels:1,kernel_size:3}",
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }",
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3, }",
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 /* , */ }",
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 // , {\n}",
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 // é\n , // b\n  }",
            "conv1d a {\r\n\tinput: f32[1, 1, 9],\r\n\tout_channels: 1,\r\n\tkernel_size: 3\r\n}\r\n",
            "conv1d a { schedule {}, input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }",
            "conv1d a { schedule { // none\n }, input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }",
            "conv1d a { schedule { vector: ow }, input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 } conv1d b { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3 }",
            "conv1d a { input: f32[1, 1, 9], out_channels: 1, kernel_size: 3, schedule { vector: ow /* why */, unroll: 3 } }",
        ] {
            pin_all(text);
        }
    }

    #[test]
    fn a_schedule_that_is_there_is_filled_up() {
        let new = pin_all(
            "conv1d a {\n    input: f32[1, 2, 9],\n    out_channels: 3,\n    kernel_size: 3,\n    schedule {\n        vector: ow, // along the row\n    }\n}\n",
        );
        assert!(new.contains("        vector: ow, // along the row\n        algorithm: direct,\n"), "{new}");
        assert_eq!(new.matches("vector").count(), 1, "{new}");
        assert_eq!(pin_all(&new), new, "all is pinned already");
    }

    #[test]
    fn only_files_and_each_once() {
        assert!(check_files(&["a".into(), "b".into()]).is_ok());
        assert!(matches!(check_files(&["a".into(), "-".into()]), Err(Failure::Usage(_))));
        assert!(matches!(check_files(&["a".into(), "a".into()]), Err(Failure::Usage(_))));
    }
}
