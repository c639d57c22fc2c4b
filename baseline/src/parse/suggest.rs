/// The word that was probably meant: the nearest one, if it is near.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let length = word.chars().count();
    // Nobody means a word of ours by one so much longer, and the distance is costly to tell.
    if length > 40 {
        return None;
    }
    let near = |known: &&str| distance(word, known);
    let nearest = known.iter().copied().min_by_key(near)?;
    (near(&nearest) <= 1 + length / 4).then_some(nearest)
}

/// How many characters must be put in, taken out or changed.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, mine) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, theirs) in other.iter().enumerate() {
            let changed = diagonal + usize::from(mine != *theirs);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
