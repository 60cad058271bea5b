//! `fmt`: the canonical layout of source texts.

use crate::args::Fmt;
use crate::data::write_whole;
use crate::failure::Failure;
use crate::source::Text;
use convoke_core::front;
use std::io::Write;
use std::path::Path;

pub(crate) fn run(args: &Fmt, out: &mut dyn Write) -> Result<(), Failure> {
    let mut failed = false;
    for path in &args.files {
        let text = Text::read(path)?;
        let formatted = match front::format(&text.text) {
            Ok(formatted) => formatted,
            Err(diagnostics) => {
                text.report(&diagnostics);
                failed = true;
                continue;
            }
        };
        let same = formatted == text.text;
        if args.check {
            if !same {
                writeln!(out, "{}", text.name)?;
                failed = true;
            }
        } else if path == Path::new("-") {
            out.write_all(formatted.as_bytes())?;
        } else if !same {
            write_whole(path, formatted.as_bytes())?;
        }
    }
    if failed { Err(Failure::Reported) } else { Ok(()) }
}
