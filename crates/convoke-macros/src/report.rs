//! Diagnostics to `compile_error!` at the user's tokens.

use crate::text::Text;
use convoke_core::diagnostic::{Diagnostic, position};
use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// `compile_error!`, reported from the token at `start` to that at `end`.
pub(crate) fn error(start: Span, end: Span, message: &str) -> TokenStream {
    let punct = |c, spacing| {
        let mut punct = Punct::new(c, spacing);
        punct.set_span(start);
        TokenTree::from(punct)
    };
    let path = || [punct(':', Spacing::Joint), punct(':', Spacing::Alone)];
    let mut literal = Literal::string(message);
    literal.set_span(end);
    let mut group = Group::new(Delimiter::Brace, TokenTree::from(literal).into());
    group.set_span(end);
    let [a, b] = path();
    let [c, d] = path();
    let core = TokenTree::from(Ident::new("core", start));
    let name = TokenTree::from(Ident::new("compile_error", start));
    [a, b, core, c, d, name, punct('!', Spacing::Alone), group.into()].into_iter().collect()
}

/// The diagnostics of a macro's own text, each at the tokens of its first label.
pub(crate) fn in_tokens(diagnostics: &[Diagnostic], text: &Text) -> TokenStream {
    let one = |diagnostic: &Diagnostic| {
        let (start, end) = match diagnostic.labels.first() {
            Some(label) => text.tokens(label.span),
            None => (Span::call_site(), Span::call_site()),
        };
        let mut message = headline(diagnostic);
        for label in diagnostic.labels.iter().skip(1).filter(|l| !l.text.is_empty()) {
            let at = text.source.get(label.span.range()).unwrap_or_default();
            message += &format!("\n`{at}`: {}", label.text);
        }
        error(start, end, &(message + &help(diagnostic)))
    };
    diagnostics.iter().map(one).collect()
}

/// The diagnostics of a file, at the token that names it.
pub(crate) fn in_file(diagnostics: &[Diagnostic], source: &str, path: &str, span: Span) -> TokenStream {
    let one = |diagnostic: &Diagnostic| {
        let mut message = String::new();
        if let Some(label) = diagnostic.labels.first() {
            let (line, column) = position(source, label.span.start);
            message += &format!("{path}:{line}:{column}: ");
        }
        message += &headline(diagnostic);
        for label in diagnostic.labels.iter().skip(1).filter(|l| !l.text.is_empty()) {
            let (line, column) = position(source, label.span.start);
            message += &format!("\n{path}:{line}:{column}: {}", label.text);
        }
        error(span, span, &(message + &help(diagnostic)))
    };
    diagnostics.iter().map(one).collect()
}

/// What is wrong, and what is to be said of the place.
fn headline(diagnostic: &Diagnostic) -> String {
    match diagnostic.labels.first() {
        Some(label) if !label.text.is_empty() => format!("{}: {}", diagnostic.message, label.text),
        _ => diagnostic.message.clone(),
    }
}

fn help(diagnostic: &Diagnostic) -> String {
    diagnostic.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default()
}
