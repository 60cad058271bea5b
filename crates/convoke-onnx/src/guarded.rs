//! Quotients that are 0 where the divisor is: `Where(Equal(d, 0), 0, x / d)`, which is TensorFlow's `div_no_nan`, and the same of `Reciprocal`.
//!
//! Neither the condition nor the choice is a value of a network; together they are one step of the divisor.

use crate::graph::{Graph, Node};

/// A choice between a quotient and a constant, which stands where the divisor is another.
pub(crate) struct Guarded<'n, 'g> {
    /// The quotient.
    pub(crate) node: &'n Node<'g>,
    /// What it is over.
    pub(crate) divisor: usize,
    /// What the divisor is compared with, and what stands there in place of the quotient, where that is not the divisor itself.
    pub(crate) constants: Vec<usize>,
}

/// What a node chooses, if it is such a choice.
pub(crate) fn guarded<'n, 'g>(graph: &'n Graph<'g>, node: &Node<'g>) -> Option<Guarded<'n, 'g>> {
    if node.op() != "Where" {
        return None;
    }
    let made_by = |value: usize| graph.maker[value].map(|at| &graph.nodes[at]);
    let quotient = made_by(node.input(2)?)?;
    let divisor = match quotient.op().as_str() {
        "Div" => quotient.input(1)?,
        "Reciprocal" => quotient.input(0)?,
        _ => return None,
    };
    let condition = made_by(node.input(0)?).filter(|condition| condition.op() == "Equal")?;
    let compared = match (condition.input(0)?, condition.input(1)?) {
        (value, other) | (other, value) if value == divisor => other,
        _ => return None,
    };
    let chosen = Some(node.input(1)?).filter(|&value| value != divisor);
    let constants = [compared].into_iter().chain(chosen).collect();
    Some(Guarded { node: quotient, divisor, constants })
}
