//! No text, however odd, may make the front end panic, hang, or point outside the text.

use convoke_core::diagnostic::{Diagnostic, plain, render};
use convoke_core::front;
use convoke_core::plan::Arena;
use convoke_core::spec::{BindError, LayerSpec, LayerTemplate, Limits, Operation};
use peak_alloc::PeakAlloc;
use std::time::{Duration, Instant};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Megabytes that the tests of this file may hold at once. The longest texts have a few megabytes and the numbers in any of
/// them reach far further.
const MEGABYTES: f32 = 256.0;

const CASES: usize = 100_000;

/// Legal texts to start from.
const CORPUS: [&str; 9] = [
    "conv2d named { input: f32[N, H, W, 8] @ nhwc, out_channels: 4, kernel_size: 3x5, padding: same, then: relu }",
    "conv2d conv1 {\n    input: f32[1, 3, 224, 224] @ nchw, // sizes\n    out_channels: 64,\n    kernel_size: 7x7,\n    stride: 2,\n    padding: 3,\n    bias: true,\n    then: relu,\n}\n",
    "conv1d causal { input: f64[N, 32, 400], out_channels: 32, kernel_size: 2, dilation: 128, padding: causal, then: [tanh, clamp(-1, 0.5)] }",
    "/* a /* nested */ comment */ conv3d c3d { input: f32[2, 16, 112, 112, 3] @ ndhwc, out_channels: 64, kernel_size: (3, 3, 3), padding: (1, 0..2, 1..1), weights: dhwio }",
    "conv2d dw { input: f32[0, 32, 14, 14], out_channels: 64, kernel_size: 3, groups: depthwise, padding: same_lower, stride: 2x1, then: leaky_relu(1e-2) }",
    "conv_transpose2d up { input: f32[1, 8, 14, 14], out_channels: 4, kernel_size: 4, stride: 2x3, padding: same, output_size: 28x43, weights: hwoi }",
    "conv2d pinned { input: f32[1, 64, 56, 56], out_channels: 64, kernel_size: 1,\n schedule { algorithm: direct, vector: oc, tile: 6x2, block: (oh: 4, ow: 84), order: (n, oh, g, oc, oh, ow), parallel: oh, pack_input: none, unroll: 4 } }",
    "deform_conv2d moved { input: f32[1, 8, 14, 14] @ nchw, out_channels: 4, kernel_size: 3x2, padding: (1, 0..1), offset_groups: 2, mask: true }",
    "// two layers\nconv1d a { input: f32[1, 1, 64], out_channels: 1, kernel_size: 31, padding: same }\n\n// and a second\nconv1d b { input: f32[1, 1, 64], out_channels: 1, kernel_size: 31, }",
];

/// Legal texts of networks.
const NETWORKS: [&str; 3] = [
    "network net { input: f32[N, 3, 8, 8], conv2d a { out_channels: 4, kernel_size: 1 } concat b { inputs: [a, input] } slice c { channels: 3..7 } add d { inputs: [c, a], then: relu } flatten e {} linear f { out_channels: 2 } }",
    "network two { inputs: [a: f32[2, 8, 8, 3] @ nhwc, b: f32[2, 4, 4, 8] @ nhwc], conv2d c { input: a, out_channels: 8, kernel_size: 2, stride: 2, then: residual(b) } concat d { inputs: [c, b] } outputs: [d, c] }",
    "network line {\n    input: f32[N, 1, 9],\n\n    conv1d a { out_channels: 6, kernel_size: 5 }\n    elementwise b { then: relu }\n    output: b,\n}\n",
];

/// Pieces that mutations put in.
const PIECES: [&str; 60] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    "@",
    "..",
    "-",
    ".",
    "x",
    "_",
    "/",
    "*",
    "//",
    "/*",
    "*/",
    "\"",
    "'",
    "#",
    "\\",
    "\n",
    "\r",
    "\t",
    "\0",
    "\u{1b}[31m",
    "é",
    "×",
    "漢字",
    "🦀",
    "\u{202e}",
    "\u{301}",
    "\u{feff}",
    "0",
    "1",
    "7x7",
    "0x7",
    "7x",
    "1e999",
    "1.",
    "-0",
    "2_147_483_647",
    "2147483648",
    "18446744073709551615",
    "99999999999999999999999999",
    "NaN",
    "inf",
    "conv2d",
    "conv_transpose2d",
    "output_padding: 1,",
    "conv2d z {",
    "input",
    "schedule {",
    "stride:",
    "same",
    "causal",
    "depthwise",
    "clamp(",
];

/// Xorshift, 64 bits.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

fn text(corpus: &[&str], random: &mut Random) -> String {
    match random.below(10) {
        0 => (0..random.below(60)).map(|_| random.pick(&PIECES)).collect(),
        1 => String::from_utf8_lossy(&(0..random.below(200)).map(|_| random.next() as u8).collect::<Vec<_>>())
            .into_owned(),
        2 => (0..random.below(80)).flat_map(|_| [random.pick(&PIECES), random.pick(&[" ", "", "\n"])]).collect(),
        _ => {
            let mut text = random.pick(corpus).to_owned();
            // Few mutations stay legal now and then, many meet the parser's recovery.
            let most = random.pick(&[2, 2, 8]);
            for _ in 0..=random.below(most) {
                mutate(&mut text, random);
            }
            text
        }
    }
}

/// Changes bytes, numbers, pieces or whole stretches; keeps `text` UTF-8.
fn mutate(text: &mut String, random: &mut Random) {
    let at = text.floor_char_boundary(random.below(text.len() + 1));
    let end = text.floor_char_boundary((at + random.below(24)).min(text.len())).max(at);
    match random.below(8) {
        0 => text.insert_str(at, random.pick(&PIECES)),
        1 => text.replace_range(at..end, ""),
        2 => text.replace_range(at..end, random.pick(&PIECES)),
        3 => {
            let copy = text[at..end].to_owned();
            let to = text.floor_char_boundary(random.below(text.len() + 1));
            text.insert_str(to, &copy);
        }
        4 => {
            let mut bytes = std::mem::take(text).into_bytes();
            if !bytes.is_empty() {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        5 => {
            if let Some(digit) = text[at..].find(|c: char| c.is_ascii_digit()) {
                let start = at + digit;
                let end = text[start..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |len| start + len);
                let bits = random.below(64);
                text.replace_range(start..end, &(random.next() >> bits).to_string());
            }
        }
        6 => text.truncate(at),
        _ => text.insert_str(at, &random.pick(&PIECES).repeat(random.below(40))),
    }
}

/// Spans lie in the text, on borders of characters.
fn check_spans(diagnostics: &[Diagnostic], text: &str) {
    assert!(!diagnostics.is_empty(), "refused without a reason: {text:?}");
    for diagnostic in diagnostics {
        assert!(!diagnostic.message.is_empty());
        for label in &diagnostic.labels {
            assert!(text.get(label.span.range()).is_some(), "{label:?} is outside {text:?}");
        }
    }
}

/// Spans lie in the text, and both renderings work.
fn check_diagnostics(diagnostics: &[Diagnostic], text: &str) {
    check_spans(diagnostics, text);
    assert!(!render(diagnostics, text, "hostile.conv", false).is_empty());
    assert!(plain(diagnostics, text).starts_with("error: "));
}

/// What has been held at most lies in proportion to the texts, not to the numbers in them.
fn check_memory() {
    let peak = MEMORY.peak_usage_as_mb();
    assert!(peak < MEGABYTES, "{peak} MB");
}

/// A text of one layer with names is legal for some numbers, or refused within the text; one that is a layer needs none. Answers whether
/// some number makes it one.
fn check_template(text: &str, layers: Option<&[LayerSpec]>) -> bool {
    let mut is_legal = false;
    match text.parse::<LayerTemplate>() {
        Err(error) => check_diagnostics(&error.diagnostics, text),
        Ok(template) => {
            for number in [0, 1, 9, 1 << 31, usize::MAX] {
                let sizes: Vec<_> = template.names().iter().map(|name| (name.as_str(), number)).collect();
                match template.bind(&sizes) {
                    Ok(layer) => {
                        check_sizes(&layer);
                        is_legal = true;
                    }
                    Err(BindError::Illegal { source, .. }) => check_spans(&source.diagnostics, text),
                    Err(error) => panic!("{error}: {text:?}"),
                }
            }
        }
    }
    if let Some([layer]) = layers {
        assert_eq!(text.parse::<LayerTemplate>().unwrap().bind(&[]).as_ref(), Ok(layer), "{text:?}");
    }
    is_legal
}

/// Checks one text; answers whether it is legal, if it has names of sizes for some numbers.
fn check(text: &str) -> bool {
    match front::format(text) {
        Ok(formatted) => assert_eq!(front::format(&formatted).as_ref(), Ok(&formatted), "formatting {text:?}"),
        // These are rendered below, among those of meaning.
        Err(diagnostics) => check_spans(&diagnostics, text),
    }
    let layers = front::layers(text, &Limits::default());
    let is_template = check_template(text, layers.as_deref().ok());
    let contents = front::contents(text, &Limits::default(), &[]);
    match layers {
        Err(diagnostics) => {
            check_diagnostics(&diagnostics, text);
            is_template || check_contents(contents, text)
        }
        Ok(layers) => {
            for layer in &layers {
                check_sizes(layer);
                assert_eq!(layer.to_string().parse().as_ref(), Ok(layer), "printing {text:?}");
            }
            true
        }
    }
}

/// Checks what a text holds that has networks; answers whether it is legal.
fn check_contents(contents: Result<front::Contents, Vec<Diagnostic>>, text: &str) -> bool {
    match contents {
        Err(diagnostics) => {
            check_diagnostics(&diagnostics, text);
            false
        }
        Ok(contents) => {
            for network in &contents.networks {
                network.layers().for_each(check_sizes);
                assert_eq!(network.to_string().parse().as_ref(), Ok(network), "printing {text:?}");
                let arena = Arena::of(network);
                assert!(arena.len as u128 <= network.values.iter().map(|v| v.shape.image() as u128 + 64).sum());
            }
            true
        }
    }
}

/// What validation promises: sizes that follow from one another, and no product that overflows.
fn check_sizes(layer: &LayerSpec) {
    for axis in layer.spatial {
        let pads = axis.pad_lo + axis.pad_hi;
        match layer.operation {
            Operation::Convolution | Operation::Deformable => {
                assert_eq!(axis.output, (pads + axis.input - axis.extent()) / axis.stride + 1);
            }
            _ if layer.adaptive => assert!(axis.kernel <= axis.input && axis.kernel * axis.output >= axis.input),
            Operation::MaxPool | Operation::AvgPool | Operation::LpPool => {
                let last = (axis.output - 1) * axis.stride;
                assert!(last < axis.pad_lo + axis.input && axis.pad_lo < axis.extent().max(1));
                assert!(last + axis.extent() < pads + axis.input + axis.stride);
                assert!(
                    last + axis.stride + axis.extent() > pads + axis.input
                        || last + axis.stride >= axis.pad_lo + axis.input
                );
            }
            Operation::MaxUnpool => {
                let plain = ((axis.input - 1) * axis.stride + axis.kernel) as i64 - pads as i64;
                assert!(axis.output >= 1 && (axis.output as i64 - plain).abs() < axis.stride as i64);
            }
            Operation::Transposed => {
                let spread = (axis.input - 1) * axis.stride + axis.extent();
                assert!(axis.output >= 1 && axis.output + pads >= spread);
                assert!(axis.output + pads < spread + axis.stride.max(axis.dilation));
            }
        }
    }
    assert_eq!((layer.in_channels % layer.groups, layer.out_channels % layer.groups), (0, 0));
    let images = layer.fixed_batch().unwrap_or(1) as u64;
    let most = Limits::default().tensor_bytes / layer.dtype.bytes() as u64;
    for elements in [layer.src_image(), layer.dst_image()] {
        assert!(elements as u64 * images.max(1) <= most);
    }
    assert!(layer.parameters() as u64 <= most + layer.out_channels as u64);
    assert!(layer.macs_per_image() <= Limits::default().macs);
}

/// Half of the cases, so that two cores share them.
fn check_half(seed: u64) {
    check_texts(&CORPUS, seed, CASES / 2, CASES / 50);
}

/// Of the texts more than `least` are legal.
fn check_texts(corpus: &[&str], seed: u64, cases: usize, least: usize) {
    let mut random = Random(seed);
    let (mut legal, mut refused) = (0, 0);
    for case in 0..cases {
        let text = text(corpus, &mut random);
        let checked = std::panic::catch_unwind(|| check(&text));
        match checked.unwrap_or_else(|_| panic!("seed {seed:#x}, case {case}: {text:?}")) {
            true => legal += 1,
            false => refused += 1,
        }
    }
    // Mutations must reach behind the parser as well as its errors.
    assert!(legal > least && refused > cases / 2, "{legal} legal, {refused} refused");
    check_memory();
}

#[test]
fn odd_texts_first_half() {
    check_half(0x9e37_79b9_7f4a_7c15);
}

#[test]
fn odd_networks() {
    check_texts(&NETWORKS, 0x2545_f491_4f6c_dd1d, CASES / 10, CASES / 500);
}

#[test]
fn odd_texts_second_half() {
    check_half(0xd1b5_4a32_d192_ed03);
}

#[test]
fn long_texts_take_time_in_proportion() {
    let layer = "conv2d a { input: f32[1, 3, 8, 8], out_channels: 4, kernel_size: 3 }\n";
    let texts = [
        "(".repeat(1_000_000),
        format!("conv2d a {{ then: {}", "[".repeat(1_000_000)),
        format!("conv2d a {{ then: [{}", "relu, ".repeat(200_000)),
        format!("conv2d a {{ kernel_size: {}", "7x".repeat(500_000)),
        format!("conv2d a {{ stride: {}", "9".repeat(1_000_000)),
        format!("conv2d {} {{", "a".repeat(1_000_000)),
        "/*".repeat(500_000),
        "/* */".repeat(200_000),
        "é".repeat(500_000),
        "é ".repeat(300_000),
        "stride: 2,\n".repeat(100_000),
        format!("conv2d a {{ {}", "strude: 2,\n".repeat(100_000)),
        format!("conv2d a {{ {}", "stride 2 ".repeat(100_000)),
        "conv2d a {".repeat(100_000),
        layer.repeat(20_000),
        format!("conv2d a {{ schedule {{ order: ({}) }} }}", "n, ".repeat(300_000)),
    ];
    for text in texts {
        let start = Instant::now();
        check(&text);
        let head: String = text.chars().take(30).collect();
        assert!(start.elapsed() < Duration::from_secs(10), "{head}… took {:?}", start.elapsed());
    }
    check_memory();
}
