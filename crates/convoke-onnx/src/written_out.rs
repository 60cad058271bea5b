//! Norms as exporters write them out: `d = x - mean(x)`, over `sqrt(mean(d * d) + epsilon)`.
//!
//! What is behind that, a factor and a summand, becomes part of the layer as it does of any.

use crate::graph::{Graph, Node};

/// What a quotient is, if its constants are as they should be.
pub(crate) struct Norm<'n, 'g> {
    /// What is normalized.
    pub(crate) value: usize,
    /// What makes the means, and that of the squares.
    pub(crate) means: Vec<&'n Node<'g>>,
    /// What is added to the variance.
    pub(crate) epsilon: usize,
    /// What differences are raised to, where that is not a product: two.
    pub(crate) exponent: Option<usize>,
}

/// The norm that a node is the last of.
pub(crate) fn norm<'n, 'g>(graph: &'n Graph<'g>, node: &Node<'g>) -> Option<Norm<'n, 'g>> {
    let made_by = |value: usize, operator: &str| {
        graph.maker[value].map(|at| &graph.nodes[at]).filter(|maker| maker.op() == operator)
    };
    let both = |node: &Node<'_>| Some([node.input(0)?, node.input(1)?]);
    let (difference, root) = match (node.op().as_str(), both(node)?) {
        ("Div", [difference, root]) => (difference, root),
        ("Mul", [a, b]) => {
            let over = |value: usize| made_by(value, "Reciprocal").and_then(|one| one.input(0));
            over(b).map(|root| (a, root)).or_else(|| over(a).map(|root| (b, root)))?
        }
        _ => return None,
    };
    let [a, b] = both(made_by(made_by(root, "Sqrt")?.input(0)?, "Add")?)?;
    let mean_of = |value: usize| made_by(value, "ReduceMean");
    let (variance, epsilon) = mean_of(a).map(|mean| (mean, b)).or_else(|| mean_of(b).map(|mean| (mean, a)))?;
    let squares = variance.input(0)?;
    let (squared, exponent) = match made_by(squares, "Pow") {
        Some(power) => (power.input(0)?, Some(power.input(1)?)),
        None => {
            let [a, b] = both(made_by(squares, "Mul")?)?;
            (Some(a).filter(|&a| a == b)?, None)
        }
    };
    // Some write the difference twice.
    let (mut value, mut means) = (None, vec![variance]);
    for difference in [difference, squared] {
        let [x, mean] = both(made_by(difference, "Sub")?)?;
        let mean = mean_of(mean).filter(|mean| mean.input(0) == Some(x))?;
        if *value.get_or_insert(x) != x {
            return None;
        }
        means.push(mean);
    }
    Some(Norm { value: value?, means, epsilon, exponent })
}
