//! "Did you mean": the known name that is nearest to what was written, or what other libraries' names are here.

/// Names of Keras, ONNX, TensorFlow and PyTorch's layers, each with the kind of word that it would be and what to write here.
const ELSEWHERE: [(&str, &str, &str); 38] = [
    ("field", "filters", "`out_channels`"),
    ("field", "in_channels", "part of `input`"),
    ("field", "strides", "`stride`"),
    ("field", "dilations", "`dilation`"),
    ("field", "dilation_rate", "`dilation`"),
    ("field", "kernel_shape", "`kernel_size`"),
    ("field", "pool_size", "`kernel_size`"),
    ("field", "pads", "`padding`"),
    ("field", "auto_pad", "`padding: same`"),
    ("field", "group", "`groups`"),
    ("field", "depth_multiplier", "`groups: depthwise`"),
    ("field", "use_bias", "`bias: true`"),
    ("field", "activation", "`then`"),
    ("field", "data_format", "the layout behind `input`, as in `@ nhwc`"),
    ("field", "divisor_override", "`divisor`"),
    ("field", "output_shape", "`output_size`"),
    ("padding mode", "edge", "`replicate`"),
    ("padding mode", "nearest", "`replicate`"),
    ("padding mode", "wrap", "`circular`"),
    ("padding mode", "mirror", "`reflect`"),
    ("epilogue", "swish", "`silu`"),
    ("epilogue", "hard_silu", "`hardswish`"),
    ("epilogue", "hard_swish", "`hardswish`"),
    ("epilogue", "hardsigmoid", "`hard_sigmoid`"),
    ("epilogue", "hardtanh", "`clamp(-1, 1)`"),
    ("epilogue", "clip", "`clamp`"),
    ("epilogue", "batch_norm", "`[scale, shift]`"),
    ("epilogue", "linear", "no step at all"),
    ("epilogue", "identity", "no step at all"),
    ("epilogue", "sum", "`residual`"),
    ("kind of layer", "depthwise_conv1d", "`conv1d` with `groups: depthwise`"),
    ("kind of layer", "depthwise_conv2d", "`conv2d` with `groups: depthwise`"),
    ("kind of layer", "linear", "`conv1d` with `kernel_size: 1`"),
    ("kind of layer", "dense", "`conv1d` with `kernel_size: 1`"),
    ("kind of layer", "matmul", "`conv1d` with `kernel_size: 1`"),
    ("kind of layer", "global_average_pool", "`avg_pool2d` with `kernel_size: global`"),
    ("kind of layer", "global_max_pool", "`max_pool2d` with `kernel_size: global`"),
    ("kind of layer", "batch_norm", "two steps of another layer, `then: [scale, shift]`"),
];

/// What `word`, some other library's name for a `what`, is called here.
pub(super) fn elsewhere(what: &str, word: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(kind, theirs, _)| (*kind, *theirs) == (what, word)).map(|(_, _, ours)| *ours)
}

/// The name in `known` that is at most a third of its letters away from `word`.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let near = known.iter().filter(|name| name.len().abs_diff(word.len()) <= name.len() / 3);
    let distances = near.map(|name| (edit_distance(word.as_bytes(), name.as_bytes()), *name));
    let (distance, name) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len() / 3).then_some(name)
}

/// Letters to insert, delete, replace, or swap with their neighbour.
fn edit_distance(word: &[u8], name: &[u8]) -> usize {
    let mut before: Vec<usize> = vec![0; name.len() + 1];
    let mut row: Vec<usize> = (0..=name.len()).collect();
    let mut next = before.clone();
    for i in 0..word.len() {
        next[0] = i + 1;
        for j in 0..name.len() {
            let replaced = row[j] + usize::from(word[i] != name[j]);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && word[i] == name[j - 1] && word[i - 1] == name[j] {
                least = least.min(before[j - 1] + 1);
            }
            next[j + 1] = least;
        }
        (before, row, next) = (row, next, before);
    }
    row[name.len()]
}
