//! Workers for `benches/peers/run.py` and `networks.py`: Convoke, and the peers that are written in Rust.
//!
//! `convoke-peers convoke|tract|candle|burn` answers one request a line of its standard input with one line of JSON; see
//! [`protocol`] for both.

#[cfg(feature = "burn")]
mod burn;
#[cfg(feature = "candle")]
mod candle;
#[allow(dead_code, reason = "the command uses more of it")]
#[path = "../../../../crates/convoke-cli/src/measure/clock.rs"]
mod clock;
mod convoke;
mod data;
mod memory;
mod npy;
#[path = "../../../../crates/convoke-cli/src/verbs/bench/peak.rs"]
mod peak;
mod protocol;
mod timing;
#[cfg(feature = "tract")]
mod tract;

use clock::Clock;
use std::process::ExitCode;

fn main() -> ExitCode {
    let peer = std::env::args().nth(1).unwrap_or_default();
    let result = match peer.as_str() {
        "convoke" => protocol::serve(&mut convoke::Convoke),
        #[cfg(feature = "tract")]
        "tract" => protocol::serve(&mut tract::Tract),
        #[cfg(feature = "candle")]
        "candle" => protocol::serve(&mut candle::Candle),
        #[cfg(feature = "burn")]
        "burn" => protocol::serve(&mut burn::Burn),
        _ => {
            eprintln!(
                "convoke-peers: `{peer}` is no peer of this build; usage: convoke-peers convoke|tract|candle|burn"
            );
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convoke-peers {peer}: {error}");
            ExitCode::FAILURE
        }
    }
}
