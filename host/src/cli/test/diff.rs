//! Two texts, line by line.

/// Longest texts that are compared line by line; beyond, they are shown one after the other.
const LINES: usize = 2_000;

/// The lines of both in order, `- ` before those only the first has, `+ ` before those only the second has.
pub(super) fn lines(first: &str, second: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (first.lines().collect(), second.lines().collect());
    let marked = if a.len().max(b.len()) > LINES {
        let all =
            |mark, lines: &[&str]| lines.iter().map(|line| format!("{mark} {line}")).collect();
        let (mut all_a, all_b): (Vec<String>, Vec<String>) = (all('-', &a), all('+', &b));
        all_a.extend(all_b);
        all_a
    } else {
        marked(&a, &b)
    };
    marked.join("\n")
}

/// By the longest common subsequence.
fn marked(a: &[&str], b: &[&str]) -> Vec<String> {
    // common[i][j]: how many lines a[i..] and b[j..] have in common, in order.
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut marked = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            marked.push(format!("  {}", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            marked.push(format!("- {}", a[i]));
            i += 1;
        } else {
            marked.push(format!("+ {}", b[j]));
            j += 1;
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn marks_what_differs() {
        assert_eq!(lines("a\nb\nc", "a\nx\nc\nd"), "  a\n- b\n+ x\n  c\n+ d");
        assert_eq!(lines("", "a"), "+ a");
        assert_eq!(lines("a", ""), "- a");
    }
}
