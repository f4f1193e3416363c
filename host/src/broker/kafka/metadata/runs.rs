//! Settled messages behind the committed offset, as an owner that left in order tells the next.

/// Offsets from the first to the second, both settled, as is what lies between them.
pub(in crate::broker::kafka) type Run = (i64, i64);

/// Writes as many as fit into `most` bytes in all, from the lowest on: `=1042+480+1+20` says that from 1042 on 480 offsets
/// are settled, one is not, and 20 are. Nothing where there are none.
pub(super) fn write(text: &mut String, runs: &[Run], most: usize) {
    let mut end: Option<i64> = None;
    for (first, last) in runs {
        let count = last - first + 1;
        let word = match end {
            None => format!(" ={first}+{count}"),
            Some(end) => format!("+{}+{count}", first - end),
        };
        if text.len() + word.len() > most {
            break;
        }
        text.push_str(&word);
        end = Some(last + 1);
    }
}

/// What stands behind the `=`.
pub(super) fn read(word: &str) -> Option<Vec<Run>> {
    let mut numbers = word.split('+').map(super::number);
    let mut at = numbers.next()??;
    let mut runs = Vec::new();
    loop {
        let count = numbers.next()??;
        let end = at.checked_add(count)?;
        if count == 0 {
            return None;
        }
        runs.push((at, end - 1));
        match numbers.next() {
            None => return Some(runs),
            Some(gap) => at = end.checked_add(gap.filter(|gap| *gap > 0)?)?,
        }
    }
}
