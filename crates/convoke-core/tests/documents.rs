//! What the documents say of the language is so: the layers in them are legal and in the canonical layout, what they call refused is
//! refused in those words, and the reference, `docs/language.md`, leaves no word out.
//!
//! Blocks of layers are marked `conv`. A comment `// dst: …` in one says what the next layer's output is. Blocks marked `conv,named` have layers with
//! names of sizes, each under a comment with numbers and the output. Blocks marked `conv,refused` have
//! what `convoke check layer.conv`, or `plan --target avx2`, prints in the next block. Tables with a column "error" have a refused layer a row,
//! those with a column "but not" an algorithm.

use convoke_core::diagnostic::{Diagnostic, plain, render};
use convoke_core::front::{self, ast};
use convoke_core::plan;
use convoke_core::spec::{Algorithm, Axis, FIELD_NAMES, LayerSpec, LayerTemplate, Limits, Operation, PackInput};
use convoke_core::spec::{SCHEDULE_NAMES, Schedule, VectorAxis};
use convoke_core::target::Target;
use std::collections::HashSet;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The column of what the compiler says to what is refused.
const ERROR: &str = "error";

/// The column of layers that an algorithm does not take.
const BUT_NOT: &str = "but not";

/// The folder that the documents are in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names and texts of `README.md` and of all in `docs/`.
fn documents() -> Vec<(String, String)> {
    let files = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    paths.push(root().join("README.md"));
    paths.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), read_to_string(path).unwrap())).collect()
}

fn reference() -> Page {
    Page::of(&read_to_string(root().join("docs/language.md")).unwrap())
}

/// A fenced block.
#[derive(Debug)]
struct Block {
    /// What stands behind the opening fence.
    info: String,
    text: String,
    /// The line of the opening fence.
    line: usize,
}

/// A document in pieces.
#[derive(Default)]
struct Page {
    blocks: Vec<Block>,
    /// The lines outside blocks.
    prose: Vec<String>,
}

impl Page {
    fn of(text: &str) -> Self {
        let mut page = Self::default();
        let mut open: Option<Block> = None;
        for (at, line) in text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(info)) => {
                    open = Some(Block { info: info.to_owned(), text: String::new(), line: at + 1 });
                }
                (None, None) => page.prose.push(line.to_owned()),
                (Some(_), Some(_)) => page.blocks.extend(open.take()),
                (Some(block), None) => block.text.extend([line, "\n"]),
            }
        }
        assert!(open.is_none(), "a block is never closed");
        page
    }

    fn marked<'p>(&'p self, info: &'p str) -> impl Iterator<Item = &'p Block> {
        self.blocks.iter().filter(move |block| block.info == info)
    }

    /// The rows of the tables that have that column.
    fn tables_with(&self, column: &str) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut inside = false;
        for line in &self.prose {
            let cells = cells(line);
            if cells.iter().any(|cell| cell == column) {
                inside = true;
            } else if cells.is_empty() {
                inside = false;
            } else if inside && !line.starts_with("|--") {
                rows.push(cells);
            }
        }
        rows
    }

    /// What stands between backticks, outside blocks and tables of refusals.
    fn code(&self) -> Vec<String> {
        let refusals: HashSet<_> = self.tables_with(ERROR).into_iter().collect();
        self.prose.iter().filter(|line| !refusals.contains(&cells(line))).flat_map(|line| spans(line)).collect()
    }
}

/// The cells of a row of a table, of any other line none.
fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map_or_else(Vec::new, |inner| inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// What stands between backticks.
fn spans(text: &str) -> Vec<String> {
    let pieces: Vec<_> = text.split('`').collect();
    assert!(pieces.len() % 2 == 1, "backticks are not in pairs: {text}");
    pieces.into_iter().skip(1).step_by(2).map(str::to_owned).collect()
}

fn layers(text: &str) -> Result<Vec<LayerSpec>, Vec<Diagnostic>> {
    front::layers(text, &Limits::default())
}

/// Whether the schedule can hold on AVX2, with VNNI or without.
fn has_plan(spec: &LayerSpec) -> bool {
    let holds = |target: &Target| plan::choose(spec, target).is_ok();
    spec.schedule == Schedule::default() || [Target::AVX2, Target::AVX2_VNNI].iter().any(holds)
}

/// What is said of a text that is refused, if not as such then because of a schedule that cannot hold on AVX2.
fn refusal(text: &str) -> Vec<Diagnostic> {
    let specs = match layers(text) {
        Ok(specs) => specs,
        Err(refused) => return refused,
    };
    specs.iter().filter_map(|spec| plan::choose(spec, &Target::AVX2).err()).map(Diagnostic::from).collect()
}

/// A layer of that kind with `fields`, and with what it must have besides.
fn layer_with(kind: &str, fields: &str) -> String {
    let rank = kind.strip_suffix('d').and_then(|kind| kind.chars().last()?.to_digit(10)).unwrap_or(2);
    let sizes = ["", ", 32", ", 32, 32", ", 32, 32, 32"][rank.min(3) as usize];
    let written = format!("{kind} layer {{ {fields} }}");
    let parsed = front::parse(&written).unwrap_or_else(|mistakes| panic!("{}", plain(&mistakes, &written)));
    let given = |name: &str| parsed.layers[0].fields.iter().any(|field| field.name.value == name);
    let mut besides = vec![("input", format!("f32[1, 16{sizes}]")), ("kernel_size", "3".to_owned())];
    if kind.contains("pool") && !kind.contains("unpool") && given("output_size") {
        besides.pop();
    }
    if !kind.contains("pool") {
        besides.push(("out_channels", "16".to_owned()));
    }
    let besides: String =
        besides.iter().filter(|field| !given(field.0)).map(|(name, value)| format!("{name}: {value}, ")).collect();
    format!("{kind} layer {{ {besides}{fields} }}")
}

fn kinds() -> impl Iterator<Item = &'static str> {
    Operation::ALL.into_iter().flat_map(Operation::kinds)
}

/// The first kind of layer between the backticks of a cell, and what has a colon.
fn kind_and_fields(cell: &str) -> (Option<String>, Vec<String>) {
    let (fields, words): (Vec<_>, Vec<_>) = spans(cell).into_iter().partition(|span| span.contains(':'));
    (words.into_iter().find(|word| kinds().any(|kind| kind == word)), fields)
}

/// The words that are known where `fields` has one that is not.
fn known(kind: &str, fields: &str) -> Vec<String> {
    let text = layer_with(kind, fields);
    let refused = layers(&text).expect_err(&text);
    let help = refused[0].help.as_deref().unwrap_or_default();
    let list = help.strip_prefix("known are ").unwrap_or_else(|| panic!("{text} is refused otherwise: {refused:?}"));
    list.split(", ").map(str::to_owned).collect()
}

/// The comments of a block of layers with names, `// H = 480: f32[…]`, each with the numbers and the output of the next layer.
fn check_bound(at: &str, text: &str) -> usize {
    let file = front::parse(text).unwrap_or_else(|d| panic!("{at}\n{}", plain(&d, text)));
    assert_eq!(file.comments.len(), file.layers.len(), "{at}: a comment a layer");
    for (comment, layer) in file.comments.iter().zip(&file.layers) {
        let (numbers, dst) = comment.text.trim_start_matches("// ").split_once(": ").expect(at);
        let numbers: Vec<_> = numbers.split(", ").map(|pair| pair.split_once(" = ").expect(at)).collect();
        let numbers: Vec<_> = numbers.into_iter().map(|(name, number)| (name, number.parse().unwrap())).collect();
        let template: LayerTemplate = text[layer.span.range()].parse().unwrap();
        assert_eq!(template.bind(&numbers).unwrap().dst_type(), dst, "{at}: the output of {}", template.name());
    }
    file.layers.len()
}

/// Checks that the comments that begin with `// dst: ` say what the layers after them have as output.
fn check_outputs(at: &str, file: &ast::File, specs: &[LayerSpec]) {
    for comment in &file.comments {
        let Some(said) = comment.text.strip_prefix("// dst: ") else { continue };
        let next = file.layers.iter().position(|layer| layer.span.start > comment.span.end).expect(at);
        assert_eq!(said, specs[next].dst_type(), "{at}: the output of {}", specs[next].name);
    }
}

#[test]
fn layers_are_legal_and_canonical() {
    for (name, text) in documents() {
        let page = Page::of(&text);
        let mut count = 0;
        for block in page.marked("conv") {
            let at = format!("{name}:{}", block.line);
            let specs = layers(&block.text).unwrap_or_else(|d| panic!("{at}\n{}", plain(&d, &block.text)));
            assert!(!specs.is_empty(), "{at}: no layer");
            assert_eq!(front::format(&block.text).as_ref(), Ok(&block.text), "{at}");
            check_outputs(&at, &front::parse(&block.text).unwrap(), &specs);
            count += specs.len();
            for spec in &specs {
                assert!(has_plan(spec), "{at}: the schedule of {} cannot hold", spec.name);
            }
        }
        let least = match name.as_str() {
            "language.md" => 10,
            "README.md" | "deformable.md" | "pooling.md" | "quantised.md" | "streaming.md" | "transposed.md" => 1,
            _ => 0,
        };
        assert!(count >= least, "{name} has {count} layers, and at least {least} are wanted");
        for block in page.blocks.iter().filter(|block| !block.info.starts_with("conv")) {
            let is_layers = front::parse(&block.text).is_ok_and(|file| !file.layers.is_empty());
            assert!(!is_layers, "{name}:{}: a block of layers that is not marked `conv`", block.line);
        }
    }
}

#[test]
fn layers_with_names_are_layers_with_the_numbers_that_are_said() {
    let mut count = 0;
    for (name, text) in documents() {
        for block in Page::of(&text).marked("conv,named") {
            let at = format!("{name}:{}", block.line);
            assert_eq!(front::format(&block.text).as_ref(), Ok(&block.text), "{at}");
            count += check_bound(&at, &block.text);
        }
    }
    assert!(count >= 2, "only {count} layers with names");
}

#[test]
fn refused_layers_are_refused_in_these_words() {
    let mut count = 0;
    for (name, text) in documents() {
        let page = Page::of(&text);
        for (at, block) in page.blocks.iter().enumerate().filter(|(_, block)| block.info == "conv,refused") {
            let refused = refusal(&block.text);
            assert!(!refused.is_empty(), "{name}:{}: nothing is refused", block.line);
            let printed = render(&refused, &block.text, "layer.conv", false);
            let said = page.blocks.get(at + 1).map(|block| &block.text);
            assert_eq!(said, Some(&printed), "{name}:{}", block.line);
            count += 1;
        }
    }
    assert!(count >= 1, "no document has a block of a layer that is refused");
}

#[test]
fn tables_of_refusals_say_the_errors_and_what_to_write() {
    let rows = reference().tables_with(ERROR);
    assert!(rows.len() >= 20, "only {} rows", rows.len());
    for row in rows {
        let [_, kind, refused, error, instead] = &row[..] else { panic!("{row:?} has {} cells", row.len()) };
        let text = layer_with(&spans(kind)[0], &spans(refused).join(", "));
        let found = layers(&text).expect_err(&text);
        assert_eq!(&found[0].message, error, "{text}");
        let (named, fields) = kind_and_fields(instead);
        for fields in fields {
            let text = layer_with(named.as_ref().unwrap_or(&spans(kind)[0]), &fields);
            layers(&text).unwrap_or_else(|d| panic!("{row:?}\n{}", plain(&d, &text)));
        }
    }
}

#[test]
fn algorithms_take_the_layers_that_the_table_says() {
    let mut seen = HashSet::new();
    for row in reference().tables_with(BUT_NOT) {
        let [algorithms, _, takes, refuses] = &row[..] else { panic!("{row:?} has {} cells", row.len()) };
        for algorithm in spans(algorithms) {
            for (cell, is_taken) in [(takes, true), (refuses, false)] {
                let (kind, fields) = kind_and_fields(cell);
                let pin = format!("schedule {{ algorithm: {algorithm} }}");
                let text = layer_with(kind.as_deref().unwrap_or("conv2d"), &[fields, vec![pin]].concat().join(", "));
                let specs = layers(&text).unwrap_or_else(|d| panic!("{}", plain(&d, &text)));
                assert_eq!(specs.iter().all(has_plan), is_taken, "{text}");
            }
            seen.insert(algorithm);
        }
    }
    let all: HashSet<_> = Algorithm::ALL.iter().map(|algorithm| algorithm.name().to_owned()).collect();
    assert_eq!(seen, all);
}

/// What a field or a pin may need beside it; the last entries are layers of integers.
const COMPANY: [&[&str]; 9] = [
    &[],
    &["groups: depthwise"],
    &["kernel_size: 1"],
    &["kernel_size: 31", "accuracy: fast"],
    &["stride: 2"],
    &["input: f32[1, 16, 28, 28]", "stride: 2", "padding: same"],
    &["padding: 1"],
    &["input: u8[1, 16, 32, 32]", "reduce_range: true"],
    &["input: u8[1, 16, 32, 32]", "input_scale: 1", "weights_scale: 1", "output: u8", "output_scale: 1"],
];

/// Whether some layer has the field, with pins that can hold; heights and widths by name are 32.
fn holds_somewhere(field: &str) -> bool {
    let name = |field: &str| field.split([':', ' ']).next().map(str::to_owned);
    let holds = |kind: &str, company: &[&str]| {
        let besides = company.iter().copied().filter(|beside| name(beside) != name(field));
        let fields: Vec<_> = besides.chain([field]).collect();
        let text = layer_with(kind, &fields.join(", "));
        let specs = front::layers_with_sizes(&text, &Limits::default(), &[("H", 32), ("W", 32)]);
        specs.is_ok_and(|specs| specs.iter().all(has_plan))
    };
    kinds().any(|kind| COMPANY.iter().any(|company| holds(kind, company)))
}

#[test]
fn fields_in_the_text_are_legal() {
    let begins = |span: &str, names: &[&str]| {
        names.iter().any(|name| span.strip_prefix(name).is_some_and(|rest| rest.starts_with(": ")))
    };
    let mut count = 0;
    for (name, text) in documents() {
        for span in Page::of(&text).code() {
            let fields = match &span {
                // What leaves something out is no text.
                elided if elided.contains('…') => continue,
                field if begins(field, &FIELD_NAMES) => field.clone(),
                pin if begins(pin, &SCHEDULE_NAMES) => format!("schedule {{ {pin} }}"),
                _ => continue,
            };
            assert!(holds_somewhere(&fields), "{name}: no layer has `{span}`");
            count += 1;
        }
    }
    assert!(count >= 40, "only {count} fields");
}

/// Networks of every document, each behind a comment with its outputs: `// output: f32[…]`.
#[test]
fn networks_are_legal_and_have_these_outputs() {
    let mut count = 0;
    for (name, text) in documents() {
        for block in Page::of(&text).marked("network") {
            let at = format!("{name}, line {}", block.line);
            let contents = front::contents(&block.text, &Limits::default(), &[]);
            let contents = contents.unwrap_or_else(|d| panic!("{at}\n{}", plain(&d, &block.text)));
            let said = block.text.lines().filter_map(|line| line.strip_prefix("// output: "));
            let found = contents.networks.iter().map(|network| {
                let outputs: Vec<_> = network.output_values().map(|value| value.shape.to_string()).collect();
                outputs.join(" and ")
            });
            assert!(said.eq(found), "{at}");
            assert_eq!(front::format(&block.text).as_ref(), Ok(&block.text), "{at}");
            count += contents.networks.len();
        }
    }
    assert!(count >= 2, "only {count} networks");
}

#[test]
fn the_reference_has_every_word() {
    let page = reference();
    let layers: Vec<_> = page.marked("conv").map(|block| block.text.clone()).collect();
    let code = [page.code(), layers].concat();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: HashSet<&str> = code.iter().flat_map(|text| text.split(|c| !is_part(c))).collect();

    let fixed = kinds().chain(FIELD_NAMES).chain(SCHEDULE_NAMES);
    let fixed = fixed.chain(Algorithm::ALL.iter().map(|a| a.name())).chain(Axis::ALL.iter().map(|a| a.name()));
    let fixed = fixed.chain(VectorAxis::ALL.iter().map(|v| v.name())).chain(PackInput::ALL.iter().map(|p| p.name()));
    let mut wanted: Vec<String> = fixed.chain(["per_channel", "true", "false"]).map(str::to_owned).collect();
    for (kind, fields) in [
        ("conv1d", "input: f32[1, 16, 32] @ x"),
        ("conv2d", "input: f32[1, 16, 32, 32] @ x"),
        ("conv3d", "input: f32[1, 16, 32, 32, 32] @ x"),
        ("conv2d", "input: x[1, 16, 32, 32]"),
        ("conv1d", "weights: x"),
        ("conv2d", "weights: x"),
        ("conv3d", "weights: x"),
        ("conv_transpose1d", "weights: x"),
        ("conv_transpose2d", "weights: x"),
        ("conv_transpose3d", "weights: x"),
        ("conv2d", "padding: x"),
        ("conv2d", "padding_mode: x"),
        ("conv2d", "groups: x"),
        ("conv2d", "then: x"),
        ("conv2d", "accuracy: x"),
        ("conv2d", "input: u8[1, 16, 32, 32], weights_type: x"),
        ("conv2d", "input: u8[1, 16, 32, 32], output: x"),
        ("max_pool2d", "kernel_size: x"),
    ] {
        wanted.extend(known(kind, fields));
    }
    let missing: Vec<_> = wanted.iter().filter(|word| !words.contains(word.as_str())).collect();
    assert!(missing.is_empty(), "docs/language.md says nothing of {missing:?}");
}

#[test]
fn the_reference_has_the_limits() {
    let prose = reference().prose.join("\n");
    let Limits { tensor_bytes, macs, code_ops } = Limits::default();
    let largest = i32::MAX as u64;
    for number in [tensor_bytes, macs, code_ops as u64, largest] {
        assert!(prose.contains(&format!("`{number}`")), "the limit {number} is not in docs/language.md");
    }
    assert!(layers(&layer_with("conv2d", &format!("out_channels: {}", largest + 1))).is_err());
}
