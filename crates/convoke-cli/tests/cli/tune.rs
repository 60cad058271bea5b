//! `tune` and `explain --measure`, with budgets that leave each plan a few runs; what is fast is no test's business.

use super::{convoke, scratch};
use serde_json::Value;
use snapbox::cmd::OutputAssert;
use snapbox::str;
use std::path::Path;

/// Two layers in the canonical layout, with comments.
const FILE: &str = "\
// Tiny.
conv1d a { // the first
    input: f32[1, 2, 40],
    out_channels: 3,
    kernel_size: 3, // odd
    // the end of a
}

conv2d b {
    input: f32[N, 4, 6, 6] @ nhwc,
    out_channels: 16,
    kernel_size: 3,
    padding: 1,
    schedule {
        vector: oc, // as ever
    }
}
";

/// `tune` of a file in its folder, with a cache there, and next to no time.
fn tune(file: &Path, words: &str) -> OutputAssert {
    let cache = file.with_file_name("cache");
    let budget = if words.contains("--budget") { "" } else { "--budget 0" };
    convoke(&format!("tune {budget}")).arg(file).args(words.split_whitespace()).arg("--cache-dir").arg(cache).assert()
}

fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let (folder, path) = scratch("net.conv");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn stdout(result: &OutputAssert) -> String {
    String::from_utf8(result.get_output().stdout.clone()).unwrap()
}

fn stderr(result: &OutputAssert) -> String {
    String::from_utf8(result.get_output().stderr.clone()).unwrap()
}

fn json(result: &OutputAssert) -> Vec<Value> {
    stdout(result).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Files of the cache beside `file`.
fn cached(file: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(file.with_file_name("cache").join("tune")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn tune_prints_a_table_a_layer_and_a_summary() {
    let (_folder, path) = file(FILE);
    let result = tune(&path, "--layer a --neighbours 1 --schedule").success().stderr_eq("").stdout_eq(str![[r#"
[..], 1 thread[..] time

[..]net.conv:a: [..] plans measured[..]
  algorithm  vector  input  [..]  cycles  rank  [..]time  [..]GFLOP/s  ratio
...
  regret [..]: the analytic choice takes [..], the fastest [..]
// [..]net.conv:a on [..]
schedule {
    algorithm: [..],
...
}

1 layer: regret [..] in the geometric mean, 95th percentile [..]
...
"#]]);
    let text = stdout(&result);
    assert_eq!(text.matches("analytic\n").count(), 1, "{text}");
    assert_eq!(text.matches("  fastest").count(), 1, "{text}");
}

#[test]
fn tune_writes_json() {
    let (_folder, path) = file(FILE);
    let result = tune(&path, "--json --neighbours 2 --within 1 --no-cache").code(2);
    assert!(stderr(&result).contains("cannot be used with"), "{}", stderr(&result));
    let result = tune(&path, "--json --neighbours 2 --within 1").success().stderr_eq("");
    let lines = json(&result);
    for name in ["a", "b"] {
        let of_layer: Vec<_> = lines.iter().filter(|line| line["layer"] == name).collect();
        let with = |status: &str| of_layer.iter().filter(|line| line["status"] == status).collect::<Vec<_>>();
        let (ok, left_out, tuned) = (with("ok"), with("left_out"), with("tuned"));
        assert_eq!(ok.len() + left_out.len() + tuned.len(), of_layer.len());
        assert!(ok.len() >= 3 && tuned.len() == 1, "{of_layer:?}");
        assert_eq!((tuned[0]["measured"].as_u64(), ok.len()), (Some(ok.len() as u64), ok.len()));
        assert_eq!(tuned[0]["left_out"].as_u64(), Some(left_out.len() as u64));
        assert!(tuned[0]["regret"].as_f64().is_some_and(|x| x >= 1.0));
        assert_eq!(ok.iter().filter(|line| line["analytic"] == true).count(), 1);
        let fastest: Vec<_> = ok.iter().filter(|line| line["fastest"] == true).collect();
        assert_eq!(fastest.len(), 1);
        assert_eq!(fastest[0]["schedule"], tuned[0]["schedule"]);
        for line in ok {
            assert!(line["file"].as_str().is_some_and(|file| file.ends_with("net.conv")), "{line}");
            assert_eq!((&line["backend"], &line["cached"]), (&Value::from("jit"), &Value::from(false)));
            for field in ["run_us", "gflops", "ratio", "predicted_cycles", "rank", "threads", "unroll"] {
                assert!(line[field].as_f64().is_some_and(|x| x > 0.0), "{field} in {line}");
            }
            for field in ["algorithm", "vector", "pack_input", "tile", "clock", "plan", "schedule"] {
                assert!(line[field].is_string(), "{field} in {line}");
            }
            assert!(name != "b" || line["vector"] == "oc", "pins are kept: {line}");
        }
    }
    let last = lines.last().unwrap();
    assert_eq!((&last["status"], &last["layers"]), (&Value::from("summary"), &Value::from(2)));
    assert!(["regret_geomean", "regret_p95"].iter().all(|f| last[f].as_f64().is_some_and(|x| x >= 1.0)), "{last}");
}

#[test]
fn write_pins_the_fastest_and_leaves_the_rest() {
    let (_folder, path) = file(FILE);
    let before = json(&tune(&path, "--json --write --neighbours 1").success());
    let fastest = |lines: &[Value], name: &str| {
        let line = lines.iter().find(|line| line["layer"] == name && line["status"] == "tuned").unwrap();
        line["schedule"].as_str().unwrap().to_owned()
    };
    let text = std::fs::read_to_string(&path).unwrap();
    for kept in FILE.lines() {
        assert!(text.contains(kept), "{kept} in {text}");
    }
    convoke("check").arg(&path).assert().success();
    convoke("fmt --check").arg(&path).assert().success();
    let plans = convoke("plan").arg(&path).assert().success();
    for name in ["a", "b"] {
        let schedule = fastest(&before, name);
        assert!(stdout(&plans).contains(&schedule), "{schedule} in {}", stdout(&plans));
    }
    // All is pinned now: there is one plan, and nothing to write.
    let again = json(&tune(&path, "--json --write").success());
    assert_eq!(again.iter().filter(|line| line["status"] == "ok").count(), 2);
    assert_eq!((fastest(&again, "a"), fastest(&again, "b")), (fastest(&before, "a"), fastest(&before, "b")));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn write_changes_only_the_layer_that_is_named() {
    let (_folder, path) = file(FILE);
    tune(&path, "--write --layer b --neighbours 0").success().stdout_eq(str![[r#"
...
wrote 1 schedule into [..]net.conv

"#]]);
    let text = std::fs::read_to_string(&path).unwrap();
    let (first, second) = (text.find("conv1d a").unwrap(), text.find("conv2d b").unwrap());
    assert_eq!(text[first..second], FILE[first..second]);
    assert_ne!(text[second..], FILE[second..]);
}

#[test]
fn wrong_usage_ends_with_2_and_bad_input_with_1() {
    let (_folder, path) = file(FILE);
    convoke("tune").assert().code(2);
    for words in ["--budget -1", "--budget nan", "--within 0.5", "--within inf", "--neighbours many", "--threads 0"] {
        tune(&path, words).code(2).stdout_eq("");
    }
    tune(&path, "--layer c").code(2).stdout_eq("").stderr_eq(str![[r#"
error: there is no layer `c`; there are a, b

"#]]);
    convoke("tune - --write --no-cache").assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: --write changes files, and - is standard input; use --schedule to see the plans

"#]]);
    convoke("tune --write --no-cache").arg(&path).arg(&path).assert().code(2).stderr_eq(str![[r#"
error: [..]net.conv: --write takes a file once

"#]]);
    let other = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
    tune(&path, &format!("--target {other}")).code(2).stdout_eq("");
    convoke("explain specs/edges.conv --measure --target").arg(other).assert().code(2).stdout_eq("");
    convoke("tune specs/none.conv --no-cache").assert().code(1).stdout_eq("");
    let pinned = FILE.replace("vector: oc,", "algorithm: pointwise,");
    std::fs::write(&path, &pinned).unwrap();
    let refused = tune(&path, "--write").code(1);
    assert!(stderr(&refused).contains("pointwise needs a window of 1"), "{}", stderr(&refused));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), pinned);
}

#[test]
fn times_are_kept_and_used() {
    let (_folder, path) = file(FILE);
    let used =
        |words: &str| stdout(&tune(&path, words).success().stderr_eq("")).matches("times from the cache").count();
    assert_eq!(used("--within 1e9 --neighbours 2"), 0);
    assert_eq!(cached(&path).len(), 2);
    assert_eq!(used("--within 1e9 --neighbours 2"), 2);
    assert_eq!(used("--within 1e9 --neighbours 0"), 2, "these plans were measured too");
    assert_eq!(used("--within 1e9 --neighbours 0 --threads 2"), 0, "on two threads nothing was");
    assert_eq!(cached(&path).len(), 4);
    assert_eq!(used("--within 1e9 --neighbours 0 --budget 0.001"), 0, "more time was asked for");
    assert_eq!(used("--within 1e9 --neighbours 0"), 2);
    assert_eq!(used("--within 1e9 --neighbours 0 --clear-cache"), 0);
    assert_eq!(cached(&path).len(), 2);
    let cleared = convoke("tune --clear-cache --cache-dir").arg(path.with_file_name("cache")).assert().success();
    cleared.stdout_eq("").stderr_eq("forgot the times of 2 layers\n");
    assert!(cached(&path).is_empty());
}

#[test]
fn what_is_damaged_in_the_cache_is_measured_again() {
    let (_folder, path) = file(FILE);
    tune(&path, "--layer a --neighbours 0").success();
    let files = cached(&path);
    std::fs::write(&files[0], "{\"format\": 1, \"ver").unwrap();
    let result = tune(&path, "--layer a --neighbours 0").success();
    assert!(
        stderr(&result).starts_with("warning: ") && stderr(&result).contains("this is ignored"),
        "{}",
        stderr(&result)
    );
    assert!(!stdout(&result).contains("times from the cache"));
    let result = tune(&path, "--layer a --neighbours 0").success().stderr_eq("");
    assert!(stdout(&result).contains("times from the cache"));
}

#[test]
fn without_a_place_for_the_cache_there_is_a_warning() {
    let (folder, path) = file(FILE);
    std::fs::write(folder.path().join("cache"), "no folder").unwrap();
    let result = tune(&path, "--neighbours 0").success();
    assert_eq!(stderr(&result).matches("warning: ").count(), 1, "{}", stderr(&result));
    assert!(stderr(&result).contains("times are not kept"), "{}", stderr(&result));
    convoke("tune --budget 0 --neighbours 0 --no-cache").arg(&path).assert().success().stderr_eq("");
}

#[cfg(target_os = "linux")]
#[test]
fn the_cache_lies_where_the_system_says() {
    let (folder, path) = file(FILE);
    let home = folder.path().join("home");
    for _ in 0..2 {
        let command = convoke("tune --budget 0 --neighbours 0 --layer a").arg(&path);
        command.env("XDG_CACHE_HOME", &home).assert().success().stderr_eq("");
    }
    assert_eq!(std::fs::read_dir(home.join("convoke/tune")).unwrap().count(), 1);
}

#[test]
fn several_at_once_do_not_disturb_each_other() {
    let (_folder, path) = file(FILE);
    let all: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                for _ in 0..3 {
                    tune(&path, "--neighbours 1").success().stderr_eq("");
                }
            })
        })
        .collect();
    all.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(cached(&path).len(), 2);
    let result = tune(&path, "--neighbours 1").success();
    assert_eq!(stdout(&result).matches("times from the cache").count(), 2);
}

/// Starts `tune --write` for a layer, and comes back when it has read the file and measures.
#[cfg(unix)]
fn start(path: &Path, layer: &str, budget: &str) -> std::process::Child {
    let mut child = std::process::Command::new(snapbox::cmd::cargo_bin!("convoke"))
        .args(["tune", "--write", "--layer", layer, "--budget", budget, "--cache-dir"])
        .arg(path.with_file_name("cache"))
        .arg(path)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut head = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut head).unwrap();
    child
}

/// Ctrl-C leaves the file as it was, and whole files in the cache.
#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_half_written() {
    use std::time::{Duration, Instant};
    let (folder, path) = file(FILE);
    let mut child = start(&path, "a", "1000");
    std::thread::sleep(Duration::from_millis(300));
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let begin = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(60), "it ends at once, not when the budget is used up");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), FILE);
    assert!(cached(&path).is_empty());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "net.conv" || name == "cache"), "{left:?}");
}

#[cfg(unix)]
#[test]
fn a_file_that_changes_meanwhile_is_left_alone() {
    let (_folder, path) = file(FILE);
    let child = start(&path, "a", "0.5");
    let changed = FILE.replace("odd", "even");
    std::fs::write(&path, &changed).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the file has changed meanwhile"), "{text}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), changed);
}

#[test]
fn explain_measures_and_sorts() {
    let (_folder, path) = file(FILE);
    let words = "explain --measure --budget 0 --layer b";
    let text = stdout(&convoke(words).arg(&path).assert().success().stderr_eq(""));
    for part in ["Chosen: ", "\nMeasured: ", " GFLOP/s (1 thread", "; measured ", "the schedule pins vector: oc"] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    for measured in [true, false] {
        let result = convoke("explain --json --layer a").arg(&path);
        let result = if measured { result.args(["--measure", "--budget", "0"]) } else { result };
        let lines = json(&result.assert().success().stderr_eq(""));
        let refused = lines.iter().filter(|line| line["status"] == "refused").count();
        let plans = &lines[..lines.len() - refused];
        assert!(refused > 0 && plans.len() > 1, "{lines:?}");
        assert_eq!(plans.iter().filter(|line| line["status"] == "chosen").count(), 1);
        assert!(lines[plans.len()..].iter().all(|line| line["reason"].is_string() && line["run_us"].is_null()));
        assert!(plans.is_sorted_by_key(|line| line["predicted_cycles"].as_f64().unwrap()));
        let timed = |line: &Value| line["run_us"].as_f64().is_some_and(|x| x > 0.0) && line["plan"].is_string();
        assert!(plans.iter().all(|line| timed(line) == measured), "{plans:?}");
    }
}
