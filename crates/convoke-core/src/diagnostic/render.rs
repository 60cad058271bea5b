//! Diagnostics with excerpts of the source, for people.

use super::{Diagnostic, position};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// The longest excerpt, in bytes, of which whole lines are shown.
const MAX_EXCERPT: usize = 16_384;

/// The diagnostics with excerpts of `source`, which they were made for, an empty line between them; `colour` adds ANSI escapes.
pub fn render(diagnostics: &[Diagnostic], source: &str, file_name: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&[group(diagnostic, source, file_name)]));
        out.push('\n');
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, source: &'a str, file_name: &'a str) -> Group<'a> {
    let mut group = Group::with_title(Level::ERROR.primary_title(&diagnostic.message));
    if let Some(excerpt) = excerpt(diagnostic, source) {
        let (line, _) = position(source, excerpt.start);
        let mut snippet = Snippet::source(&source[excerpt.clone()]).line_start(line).path(file_name);
        for (at, label) in diagnostic.labels.iter().enumerate() {
            let span = label.span.start.max(excerpt.start)..label.span.end.min(excerpt.end);
            if span.start <= span.end {
                let kind = if at == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let text = (!label.text.is_empty()).then_some(label.text.as_str());
                snippet =
                    snippet.annotation(kind.span(span.start - excerpt.start..span.end - excerpt.start).label(text));
            }
        }
        group = group.element(snippet);
    }
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

/// The whole lines that hold the labels; those of the first label alone, cut near it, if that is too much to show.
fn excerpt(diagnostic: &Diagnostic, source: &str) -> Option<Range<usize>> {
    let first = diagnostic.labels.first()?.span;
    let all = diagnostic.labels.iter().fold(first, |all, label| all.to(label.span));
    let lines = |span: crate::span::Span| {
        let start = source.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
        let end = source.get(span.end..)?.find('\n').map_or(source.len(), |at| span.end + at);
        Some(start..end)
    };
    [all, first].into_iter().filter_map(lines).find(|range| range.len() <= MAX_EXCERPT).or_else(|| {
        let start = source.floor_char_boundary(first.start.saturating_sub(MAX_EXCERPT / 256));
        let end = source.ceil_char_boundary(first.end.min(first.start.saturating_add(MAX_EXCERPT / 256)));
        source.get(start..end).map(|_| start..end)
    })
}
