//! The command `convoke`: one grammar for all verbs, `convoke VERB FILE… [--layer NAME]`.
//!
//! Arguments are read in two steps: [`args`] says what may be written, the verbs what it means. Exit code 0 is fine, 1 says
//! that the input or a check failed, 2 that the command was used wrongly. A reader that closes the pipe early ends the
//! command quietly, and files are written whole or not at all.

mod args;
mod cache;
mod candidates;
mod compute;
mod data;
mod failure;
mod filters;
mod hash;
mod integers;
mod interrupt;
mod measure;
mod numbers;
mod preview;
mod progress;
mod random;
mod rustc;
mod source;
mod verbs;

use clap::Parser;
use failure::Failure;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    interrupt::watch();
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    let result = verbs::run(cli.verb, &mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit_code())
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}
