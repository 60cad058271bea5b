//! From a value as written to what a field takes. A value that does not fit is reported and read as nothing.

use super::error::SpecError;
use super::operation::MOST_P;
use super::schedule::{Algorithm, Axis, PackInput, Schedule, VectorAxis};
use super::sizes::{MAX_SIZE, Padding};
use super::{Accuracy, Epilogue, Operation, POW_MOST, POW_STEP, PaddingMode, SCHEDULE_NAMES};
use crate::front::ast::{Field, Value, ValueKind};
use crate::span::{Span, Spanned};

/// Names of the axes in messages, for `d h w`.
pub(super) const fn axis_names(rank: usize) -> [&'static str; 3] {
    ["depth", "height", if rank == 1 { "length" } else { "width" }]
}

/// What names of sizes stand for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Names<'a> {
    /// These numbers; no others are known.
    Numbers(&'a [(&'a str, usize)]),
    /// What is said later.
    Later,
}

impl Names<'_> {
    /// The number of `name`, if there is one.
    pub(super) fn number(self, name: &str) -> Option<usize> {
        let Self::Numbers(numbers) = self else { return None };
        numbers.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }
}

/// Reads the fields of one layer.
pub(super) struct Reader<'e> {
    pub(super) operation: Operation,
    pub(super) rank: usize,
    pub(super) kind: &'static str,
    pub(super) names: Names<'e>,
    pub(super) errors: &'e mut Vec<SpecError>,
}

impl Reader<'_> {
    pub(super) fn report<T>(&mut self, error: SpecError) -> Option<T> {
        self.errors.push(error);
        None
    }

    /// Reports a value of the wrong form, unless the parser could not read it.
    pub(super) fn form<T>(&mut self, field: &'static str, expected: impl Into<String>, value: &Value) -> Option<T> {
        if value.kind == ValueKind::Unreadable {
            return None;
        }
        self.report(SpecError::Form { field, expected: expected.into(), found: Box::new(value.clone()) })
    }

    /// A whole number from `least` to [`MAX_SIZE`].
    pub(super) fn whole(&mut self, what: &str, number: i128, span: Span, least: u64) -> Option<usize> {
        let fits = u64::try_from(number).ok().filter(|n| (least..=MAX_SIZE).contains(n));
        match fits.and_then(|n| usize::try_from(n).ok()) {
            Some(n) => Some(n),
            None => self.report(SpecError::Range { what: what.to_owned(), value: number, least, most: MAX_SIZE, span }),
        }
    }

    /// A field that takes one number.
    pub(super) fn count(&mut self, field: &'static str, value: &Value, least: u64) -> Option<Spanned<usize>> {
        match value.kind {
            ValueKind::Int(n) => {
                Some(Spanned::new(self.whole(&format!("`{field}`"), n, value.span, least)?, value.span))
            }
            _ => self.form(field, "one whole number", value),
        }
    }

    /// The number of a norm.
    pub(super) fn p(&mut self, value: &Value) -> Option<usize> {
        let p = self.count("p", value, 1)?;
        if p.value <= MOST_P {
            return Some(p.value);
        }
        let (what, value, most) = ("`p`".to_owned(), p.value as i128, MOST_P as u64);
        self.report(SpecError::Range { what, value, least: 1, most, span: p.span })
    }

    /// A field that takes one of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        field: &'static str,
        what: &'static str,
        value: &Value,
        known: &[(&'static str, T)],
    ) -> Option<Spanned<T>> {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let ValueKind::Word(word) = &value.kind else {
            return self.form(field, format!("one of {}", names.join(", ")), value);
        };
        match known.iter().find(|(name, _)| name == word) {
            Some((_, choice)) => Some(Spanned::new(*choice, value.span)),
            None => {
                let word = Spanned::new(word.clone(), value.span);
                self.report(SpecError::UnknownWord { what, word, known: names })
            }
        }
    }

    pub(super) fn flag(&mut self, field: &'static str, value: &Value) -> Option<bool> {
        match &value.kind {
            ValueKind::Word(word) if word == "true" => Some(true),
            ValueKind::Word(word) if word == "false" => Some(false),
            _ => self.form(field, "true or false", value),
        }
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        what: &'static str,
        word: &Spanned<String>,
        known: &[(&'static str, T)],
    ) -> Option<T> {
        let value = Value { kind: ValueKind::Word(word.value.clone()), span: word.span };
        Some(self.choice(what, what, &value, known)?.value)
    }

    /// The values of a field with one for every axis, last axis last; fewer than three for a lower rank.
    fn per_axis<'v>(
        &mut self,
        field: &'static str,
        what: &'static str,
        value: &'v Value,
        items: &'v [Value],
    ) -> Option<&'v [Value]> {
        if items.len() == self.rank {
            return Some(items);
        }
        let help = format!(
            "write one number for every axis, or {} as in `{field}: {}`",
            self.rank,
            ["3", "3x3", "3x3x3"][self.rank - 1]
        );
        self.report(SpecError::Count {
            kind: self.kind,
            what,
            expected: self.rank,
            found: items.len(),
            span: value.span,
            help,
        })
    }

    /// `3`, `3x5` or `(3, 5)`: for `d h w`, `unused` for axes that the layer does not have.
    pub(super) fn sizes(&mut self, field: &'static str, value: &Value, least: u64) -> Option<[Spanned<usize>; 3]> {
        let items: Vec<Value> = match &value.kind {
            ValueKind::Int(_) => return Some([self.count(field, value, least)?; 3]),
            ValueKind::Sizes(sizes) => {
                sizes.iter().map(|s| Value { kind: ValueKind::Int(s.value.into()), span: s.span }).collect()
            }
            ValueKind::Tuple(items) => items.clone(),
            _ => return self.form(field, "a whole number, or one for every axis as in `3x5` or `(3, 5)`", value),
        };
        let items = self.per_axis(field, "axes", value, &items)?;
        let mut sizes = [Spanned::new(1, value.span); 3];
        let read: Vec<_> = items.iter().map(|item| self.count(field, item, least)).collect();
        for (slot, size) in sizes[3 - self.rank..].iter_mut().zip(read) {
            *slot = size?;
        }
        Some(sizes)
    }

    /// The value of `padding`, for `d h w`.
    pub(super) fn padding(&mut self, value: &Value) -> Option<[Padding; 3]> {
        let mut all = [Padding::Sides(0, 0); 3];
        let items: Vec<Value> = match &value.kind {
            ValueKind::Tuple(items) => items.clone(),
            ValueKind::Sizes(sizes) => {
                sizes.iter().map(|s| Value { kind: ValueKind::Int(s.value.into()), span: s.span }).collect()
            }
            ValueKind::Word(_) => {
                let known = [
                    ("same", Padding::Same),
                    ("same_lower", Padding::SameLower),
                    ("valid", Padding::Sides(0, 0)),
                    ("causal", Padding::Causal),
                ];
                let padding = self.choice("padding", "kind of padding", value, &known)?.value;
                if padding == Padding::Causal && (self.operation, self.rank) != (Operation::Convolution, 1) {
                    return self.report(SpecError::Causal { kind: self.kind, span: value.span });
                }
                if padding != Padding::Sides(0, 0) && self.operation == Operation::MaxUnpool {
                    let (kind, span) = (self.kind, value.span);
                    return self.report(SpecError::UnpoolPadding { kind, span });
                }
                all[3 - self.rank..].fill(padding);
                return Some(all);
            }
            _ => {
                all[3 - self.rank..].fill(self.sides(value)?);
                return Some(all);
            }
        };
        let items = self.per_axis("padding", "axes to pad", value, &items)?;
        let read: Vec<_> = items.iter().map(|item| self.sides(item)).collect();
        for (slot, sides) in all[3 - self.rank..].iter_mut().zip(read) {
            *slot = sides?;
        }
        Some(all)
    }

    /// `reflect`, or `constant(1)`.
    pub(super) fn padding_mode(&mut self, value: &Value, f32: bool) -> Option<PaddingMode> {
        const MODES: [(&str, PaddingMode); 5] = [
            ("zeros", PaddingMode::Zeros),
            ("constant", PaddingMode::Constant(0.0)),
            ("reflect", PaddingMode::Reflect),
            ("replicate", PaddingMode::Replicate),
            ("circular", PaddingMode::Circular),
        ];
        let (name, args) = match &value.kind {
            ValueKind::Word(name) => (Spanned::new(name.clone(), value.span), &[][..]),
            ValueKind::Call(name, args) => (name.clone(), args.as_slice()),
            _ => return self.form("padding_mode", "a mode such as `reflect` or `constant(1)`", value),
        };
        let mode = self.word("padding mode", &name, &MODES)?;
        match (mode, args) {
            (PaddingMode::Constant(_), [number]) => self.real(number, &name.value, f32).map(PaddingMode::Constant),
            (PaddingMode::Constant(_), _) | (_, [_, ..]) => {
                let expected = if mode.is_copied() || mode == PaddingMode::Zeros {
                    "no arguments"
                } else {
                    "one number, the value"
                };
                let (step, found, span) = (name.value, args.len(), value.span);
                self.report(SpecError::Arguments { step, expected, found, span })
            }
            (mode, []) => Some(mode),
        }
    }

    /// `1` or `1..2`.
    fn sides(&mut self, value: &Value) -> Option<Padding> {
        let (lo, hi) = match &value.kind {
            ValueKind::Range(lo, hi) => (self.count("padding", lo, 0), self.count("padding", hi, 0)),
            ValueKind::Int(_) => {
                let both = self.count("padding", value, 0);
                (both, both)
            }
            _ => {
                let expected = "a number, `lo..hi`, one of them for every axis, same, same_lower, valid or causal";
                return self.form("padding", expected, value);
            }
        };
        Some(Padding::Sides(lo?.value, hi?.value))
    }

    /// `relu`, or a list of steps.
    pub(super) fn then(&mut self, value: &Value, f32: bool) -> Option<Vec<Epilogue>> {
        let steps = match &value.kind {
            ValueKind::List(steps) => steps.as_slice(),
            _ => std::slice::from_ref(value),
        };
        let read: Vec<_> = steps.iter().map(|step| self.step(step, f32)).collect();
        let read: Vec<_> = read.into_iter().collect::<Option<_>>()?;
        let before_last = &read[..read.len().saturating_sub(1)];
        if let Some(at) = before_last.iter().position(|step| *step == Epilogue::Softmax) {
            return self.report(SpecError::EarlySoftmax { span: steps[at].span });
        }
        match read.iter().filter(|step| step.takes_tensor()).count() {
            0 | 1 => Some(read),
            count => self.report(SpecError::RepeatedResidual { count, span: value.span }),
        }
    }

    fn step(&mut self, value: &Value, f32: bool) -> Option<Epilogue> {
        const STEPS: [Epilogue; 31] = [
            Epilogue::Relu,
            Epilogue::Relu6,
            Epilogue::LeakyRelu { slope: 0.01 },
            Epilogue::Clamp { lo: 0.0, hi: 0.0 },
            Epilogue::Sigmoid,
            Epilogue::Tanh,
            Epilogue::Silu,
            Epilogue::HardSwish,
            Epilogue::Gelu,
            Epilogue::GeluTanh,
            Epilogue::Elu { alpha: 1.0 },
            Epilogue::Selu,
            Epilogue::Celu { alpha: 1.0 },
            Epilogue::Softplus,
            Epilogue::Softsign,
            Epilogue::LogSigmoid,
            Epilogue::HardSigmoid,
            Epilogue::Mish,
            Epilogue::Abs,
            Epilogue::Neg,
            Epilogue::Add { constant: 0.0 },
            Epilogue::Mul { factor: 1.0 },
            Epilogue::Scale,
            Epilogue::Shift,
            Epilogue::PRelu,
            Epilogue::Pow { exponent: 2.0 },
            Epilogue::Log,
            Epilogue::ReciprocalNoNan,
            Epilogue::Residual,
            Epilogue::Multiply,
            Epilogue::Softmax,
        ];
        let (name, args) = match &value.kind {
            ValueKind::Word(name) => (Spanned::new(name.clone(), value.span), None),
            ValueKind::Call(name, args) => (name.clone(), Some(args.as_slice())),
            _ => {
                return self.form(
                    "then",
                    "steps such as `relu` or `clamp(0, 6)`, or a list of them in brackets",
                    value,
                );
            }
        };
        let step = self.word("epilogue", &name, &STEPS.map(|step| (step.name(), step)))?;
        let given = args.unwrap_or_default();
        let expected = match (&step, args) {
            (Epilogue::LeakyRelu { .. } | Epilogue::Elu { .. } | Epilogue::Celu { .. }, None) => return Some(step),
            (Epilogue::LeakyRelu { .. }, _) => ("one number, the slope", 1),
            (Epilogue::Elu { .. } | Epilogue::Celu { .. }, _) => ("one number, alpha", 1),
            (Epilogue::Add { .. }, _) => ("one number, what to add", 1),
            (Epilogue::Mul { .. }, _) => ("one number, the factor", 1),
            (Epilogue::Pow { .. }, _) => ("one number, the exponent", 1),
            (Epilogue::Clamp { .. }, _) => ("two numbers, the bounds", 2),
            _ => ("no arguments", 0),
        };
        if given.len() != expected.1 {
            let found = given.len();
            return self.report(SpecError::Arguments {
                step: name.value,
                expected: expected.0,
                found,
                span: value.span,
            });
        }
        let numbers: Option<Vec<f64>> = given.iter().map(|arg| self.real(arg, &name.value, f32)).collect();
        match (step, numbers?.as_slice()) {
            (Epilogue::LeakyRelu { .. }, &[slope]) => Some(Epilogue::LeakyRelu { slope }),
            (Epilogue::Elu { .. }, &[alpha]) => Some(Epilogue::Elu { alpha }),
            (Epilogue::Celu { .. }, &[alpha]) if alpha <= 0.0 => {
                self.report(SpecError::CeluAlpha { alpha, span: value.span })
            }
            (Epilogue::Celu { .. }, &[alpha]) => Some(Epilogue::Celu { alpha }),
            (Epilogue::Add { .. }, &[constant]) => Some(Epilogue::Add { constant }),
            (Epilogue::Mul { .. }, &[factor]) => Some(Epilogue::Mul { factor }),
            (Epilogue::Pow { .. }, &[exponent]) => {
                let steps = exponent / POW_STEP;
                if steps == 0.0 || steps.fract() != 0.0 || exponent.abs() > POW_MOST {
                    return self.report(SpecError::PowExponent { exponent, span: value.span });
                }
                Some(Epilogue::Pow { exponent })
            }
            (Epilogue::Clamp { .. }, &[lo, hi]) if lo > hi => {
                self.report(SpecError::ClampOrder { lo, hi, span: value.span })
            }
            (Epilogue::Clamp { .. }, &[lo, hi]) => Some(Epilogue::Clamp { lo, hi }),
            _ => Some(step),
        }
    }

    /// A finite number, also after rounding to the layer's type.
    fn real(&mut self, value: &Value, step: &str, f32: bool) -> Option<f64> {
        let number = match &value.kind {
            ValueKind::Int(n) => *n as f64,
            ValueKind::Float(x) => *x,
            ValueKind::Word(word) => {
                let word = Spanned::new(word.clone(), value.span);
                return self.report(SpecError::NotFinite { word, step: step.to_owned() });
            }
            _ => {
                return self.form(
                    if step == "constant" { "padding_mode" } else { "then" },
                    "numbers as arguments",
                    value,
                );
            }
        };
        if f32 && !(number as f32).is_finite() {
            return self.report(SpecError::BeyondF32 { value: number, span: value.span });
        }
        Some(number)
    }

    /// `exact`, `fast`, or how many times the error of a direct sum.
    pub(super) fn accuracy(&mut self, value: &Value) -> Option<Accuracy> {
        let times = match &value.kind {
            ValueKind::Word(_) => {
                let known = [("exact", Accuracy::Exact), ("fast", Accuracy::Fast)];
                return Some(self.choice("accuracy", "accuracy", value, &known)?.value);
            }
            ValueKind::Int(n) => *n as f64,
            ValueKind::Float(x) => *x,
            _ => {
                let expected = "exact, fast, or a number: how many times the error of a direct sum is allowed";
                return self.form("accuracy", expected, value);
            }
        };
        if times.is_finite() && times >= 1.0 {
            return Some(Accuracy::Times(times));
        }
        self.report(SpecError::Accuracy { times, span: value.span })
    }

    /// A `schedule { }` block. Only what can be judged without the layer is judged.
    pub(super) fn schedule(&mut self, value: &Value) -> Option<Schedule> {
        let ValueKind::Block(fields) = &value.kind else { return self.form("schedule", "a block in braces", value) };
        let mut schedule = Schedule::default();
        for field in self.known_fields(fields, &SCHEDULE_NAMES, "schedule field") {
            let value = &field.value;
            match field.name.value.as_str() {
                "algorithm" => {
                    schedule.algorithm =
                        self.choice("algorithm", "algorithm", value, &named(Algorithm::ALL, Algorithm::name))
                }
                "vector" => {
                    schedule.vector =
                        self.choice("vector", "axis for vectors", value, &named(VectorAxis::ALL, VectorAxis::name))
                }
                "tile" => schedule.tile = self.tile(value),
                "block" => schedule.block = self.block(value),
                "order" => schedule.order = self.order(value),
                "parallel" => schedule.parallel = self.choice("parallel", "axis", value, &named(Axis::ALL, Axis::name)),
                "pack_input" => {
                    schedule.pack_input = self.choice(
                        "pack_input",
                        "way to pack the input",
                        value,
                        &named(PackInput::ALL, PackInput::name),
                    )
                }
                "unroll" => schedule.unroll = self.count("unroll", value, 1),
                _ => {}
            }
        }
        Some(schedule)
    }

    fn tile(&mut self, value: &Value) -> Option<Spanned<(usize, usize)>> {
        match &value.kind {
            ValueKind::Sizes(sizes) if sizes.len() == 2 => {
                let rows = self.whole("`tile`", sizes[0].value.into(), sizes[0].span, 1)?;
                let vectors = self.whole("`tile`", sizes[1].value.into(), sizes[1].span, 1)?;
                Some(Spanned::new((rows, vectors), value.span))
            }
            _ => self.form("tile", "rows by vectors, as in `6x2`", value),
        }
    }

    fn block(&mut self, value: &Value) -> Option<Spanned<Vec<(Axis, usize)>>> {
        let ValueKind::Tuple(items) = &value.kind else {
            return self.form("block", "sizes by axis, as in `(oh: 4, ow: 84)`", value);
        };
        let mut blocks = Vec::new();
        for item in items.iter().take(Axis::ALL.len() + 1) {
            let ValueKind::Pair(name, size) = &item.kind else {
                return self.form("block", "sizes by axis, as in `(oh: 4, ow: 84)`", item);
            };
            let axis = self.word("axis", name, &named(Axis::ALL, Axis::name))?;
            if blocks.iter().any(|(a, _)| *a == axis) {
                return self.report(SpecError::RepeatedAxis { axis: name.clone(), field: "block", count: 2, most: 1 });
            }
            blocks.push((axis, self.count("block", size, 1)?.value));
        }
        Some(Spanned::new(blocks, value.span))
    }

    fn order(&mut self, value: &Value) -> Option<Spanned<Vec<Axis>>> {
        let ValueKind::Tuple(items) = &value.kind else {
            return self.form("order", "axes, outermost first, as in `(n, oh, oc, ow)`", value);
        };
        let mut order = Vec::new();
        for item in items.iter().take(2 * Axis::ALL.len() + 1) {
            let axis = self.choice("order", "axis", item, &named(Axis::ALL, Axis::name))?;
            order.push(axis.value);
            let count = order.iter().filter(|a| **a == axis.value).count();
            if count > 2 {
                let axis = Spanned::new(axis.value.name().to_owned(), item.span);
                return self.report(SpecError::RepeatedAxis { axis, field: "order", count, most: 2 });
            }
        }
        Some(Spanned::new(order, value.span))
    }

    /// The fields that exist, each once; others are reported.
    pub(super) fn known_fields<'f>(
        &mut self,
        fields: &'f [Field],
        known: &[&'static str],
        what: &'static str,
    ) -> Vec<&'f Field> {
        let mut kept: Vec<&Field> = Vec::new();
        for field in fields {
            let name = field.name.value.as_str();
            if let Some(other) = Operation::with_field(name).filter(|_| what == "field" && !known.contains(&name)) {
                let (kind, other) = (self.kind, other.kinds()[self.rank - 1]);
                self.errors.push(SpecError::OtherField {
                    name: field.name.clone(),
                    kind,
                    other,
                    known: known.to_vec(),
                });
            } else if !known.contains(&name) {
                self.errors.push(SpecError::UnknownWord { what, word: field.name.clone(), known: known.to_vec() });
            } else if let Some(first) = kept.iter().find(|f| f.name.value == field.name.value) {
                self.errors.push(SpecError::Duplicate { name: field.name.clone(), first: first.name.span });
            } else {
                kept.push(field);
            }
        }
        kept
    }
}

/// The values of an enum with their names.
fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str) -> Vec<(&'static str, T)> {
    all.iter().map(|value| (name(*value), *value)).collect()
}
