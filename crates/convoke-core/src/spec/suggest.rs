//! "Did you mean": the known name that is nearest to what was written.

/// The name in `known` that is at most a third of its letters away from `word`.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase();
    let distance = |name: &&'k str| (edit_distance(&word, name), *name);
    let (distance, name) = known.iter().map(distance).min_by_key(|(distance, _)| *distance)?;
    (distance <= (name.len() / 3).max(1)).then_some(name)
}

/// Letters to insert, delete or replace; words far longer than any name are not looked at.
fn edit_distance(word: &str, name: &str) -> usize {
    if word.len() > 2 * name.len() {
        return word.len();
    }
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (i, a) in word.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in name.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[name.len()]
}
