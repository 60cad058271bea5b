//! "Did you mean": the known name that is nearest to what was written.

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
    for i in 0..word.len() {
        let mut next = vec![i + 1];
        for j in 0..name.len() {
            let replaced = row[j] + usize::from(word[i] != name[j]);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && word[i] == name[j - 1] && word[i - 1] == name[j] {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        (before, row) = (row, next);
    }
    row[name.len()]
}
